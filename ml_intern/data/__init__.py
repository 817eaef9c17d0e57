"""Sources become rows, rows become versioned datasets; judged, cut, filtered, split and sealed."""
