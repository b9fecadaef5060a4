//! What the user typed, what it means, the request, the table
