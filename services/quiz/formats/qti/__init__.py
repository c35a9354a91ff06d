"""QTI 1, 2 and 3: packages of questions, read and written."""
