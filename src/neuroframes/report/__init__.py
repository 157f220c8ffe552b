"""What a person looks at: pages and figures made from frames."""
