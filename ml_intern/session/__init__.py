"""One prompt and all that comes of it: made, driven through its turns, ended, resumed, replayed, undone."""
