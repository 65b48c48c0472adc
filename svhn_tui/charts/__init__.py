"""Line charts in a terminal's cells."""
