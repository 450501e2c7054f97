"""What each command does: `student`, `ta`, `instructor`. Data goes to stdout, talk to stderr."""
