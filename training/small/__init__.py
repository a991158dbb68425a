"""What only n3d-tiny needs: tokenizer and initial weights."""
