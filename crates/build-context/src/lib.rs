//! What a build is given: the Dockerfile, `.dockerignore`, and the context as a stream.

pub mod context;
pub mod dockerfile;
pub mod ignore;
pub mod workspace;
