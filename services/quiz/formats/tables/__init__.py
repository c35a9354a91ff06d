"""Tables of questions: CSV and XLSX by the same columns."""
