"""Records: the JSON from which any process makes a resource again."""
