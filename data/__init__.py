"""What is read: text -> tokens -> windows. Nothing here knows which objective reads them."""
