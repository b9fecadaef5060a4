//! Submit, decide, append, fold, publish; and the reconcile loop
