"""What pages share: figures, sheets of images, rendering to one HTML file."""
