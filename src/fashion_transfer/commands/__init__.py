"""What the three commands do, behind the few lines of train.py, evaluate.py and predict.py."""
