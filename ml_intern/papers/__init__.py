"""Papers: their ids, the services that know them, their citations, and where their texts are."""
