"""Floor 7: the public array functions, one file a chapter of the array API standard."""
