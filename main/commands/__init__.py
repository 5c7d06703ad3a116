"""What a person types: each module parses, calls and prints for one group of commands."""
