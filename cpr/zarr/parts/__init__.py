"""Arrays and images written in parts: each task writes a region, and one assembles them."""
