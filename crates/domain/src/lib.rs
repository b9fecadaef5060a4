//! Pure decisions: commands, events, views and plans
