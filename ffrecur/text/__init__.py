"""What texts are made of: alphabets, places and windows, drawing, and how good what was drawn is."""
