//! One test binary: linking the dependency tree once is what two cores can afford.

mod action;
mod cases;
mod chaos;
mod contract;
mod doubles;
mod parsers;
mod project;
mod proxy;
mod receiver;
mod remedies;
mod simulation;
