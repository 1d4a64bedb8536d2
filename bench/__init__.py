"""What developers run: training the embedded network, measuring speed."""
