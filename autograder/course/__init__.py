"""A course on disk: its folder and people, what comes in (`collect`) and what goes out (`gradebook`, `scores`)."""
