//! What content is made of, wherever it lies: digests, the hash tree, compressed and encrypted forms.
