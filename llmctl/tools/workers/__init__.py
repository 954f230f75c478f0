"""What runs on the other side, in processes of their own: code of the user's, with nothing of ours around it."""
