//! Images that are made here, since none can be pulled.

pub mod app_image;
pub mod busybox_image;
pub mod tiny_image;
