"""What is shared: one Transformer. torch only; nothing here knows of text, objectives or training loops."""
