"""From trained generators to folders of images."""
