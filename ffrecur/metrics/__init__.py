"""What is measured of a net, and the pictures of it."""
