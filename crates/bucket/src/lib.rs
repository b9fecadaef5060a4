//! What a bucket's settings mean: policy, lifecycle, locks, CORS, conditions, notifications. Pure.
