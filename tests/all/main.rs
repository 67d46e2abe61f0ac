//! One test binary: linking the dependency tree once is what two cores can afford.

#[path = "../support/mod.rs"]
mod support;

mod act;
mod action;
mod build;
mod cases;
mod chaos;
mod cli;
mod context;
mod contract;
mod deploy;
mod docker_build;
mod docs;
mod double;
mod engine;
mod examples;
mod front_proxy;
mod layering;
mod load;
mod load_table;
mod parsers;
mod pictures;
mod proxy;
mod receiver;
mod registry;
mod release;
mod remedies;
mod runner;
mod server;
mod server_docker;
mod server_setup;
mod simulation;
mod ssh;
mod supply;
mod workflows;
