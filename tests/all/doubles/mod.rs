//! What other tests rely on: the GitHub double, the application that tests deploy, and its clients.

mod github;
mod load;
