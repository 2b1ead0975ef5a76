"""How well a teacher's maps and presence can be read."""
