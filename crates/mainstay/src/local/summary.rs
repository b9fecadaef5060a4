//! What `mainstay up` tells a person: what runs where, and what to try next.

use std::fmt::Write;

use mainstay_domain::view::View;

use crate::config::Config;

/// What runs where, and the next three commands.
pub(super) fn summary(config: &Config, view: &View) -> String {
    let mut text = String::from("Mainstay is up.\n");
    let clusters = view.clusters().count();
    let known = match clusters {
        0 => String::new(),
        1 => ", 1 cluster being started".to_owned(),
        many => format!(", {many} clusters being started"),
    };
    // Writing to a string does not fail.
    let _ = writeln!(text, "  {} instances{known}", view.instances().count());
    text + &next_steps(config)
}

/// Where everything is, and the next three commands.
pub(super) fn next_steps(config: &Config) -> String {
    let api = config.listen.api;
    let mut commands =
        ["mainstay create postgresql/v1 shop", "mainstay bind shop --consumer web", "mainstay status shop"]
            .map(str::to_owned);
    let default_dir =
        std::env::var_os("MAINSTAY_DATA_DIR").is_none() && config.data_dir.as_os_str() != "/var/lib/mainstay";
    if api.port() != 7400 || default_dir {
        commands = commands
            .map(|command| format!("{command} --address http://{api} --data-dir {}", config.data_dir.display()));
    }
    format!(
        "\n  API          http://{api}\n  PostgreSQL   {} (shared, started with the first instance)\n  data         {}\n  admin token  {}\n\n\
         Next:\n  {}\n  {}\n  {}\n",
        config.listen.postgresql,
        config.data_dir.display(),
        config.data_dir.join("admin.token").display(),
        commands[0],
        commands[1],
        commands[2],
    )
}
