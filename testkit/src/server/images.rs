//! A registry with images of the test application.

use autotag_model::reference::{Digest, ImageName};

use super::commit_of;
use crate::images::app_image::AppImage;
use crate::registry::{Auth, Registry};

/// A registry with images of the test application.
pub struct Images {
    /// The registry.
    pub registry: Registry,
    name: ImageName,
}

impl Images {
    /// An empty one.
    pub fn start() -> Self {
        Self::with(&Auth::None)
    }

    /// One that asks who comes.
    pub fn with(auth: &Auth) -> Self {
        let registry = Registry::start(auth);
        let name = registry.image("org/app");
        Self { registry, name }
    }

    /// The application's repository.
    pub fn name(&self) -> &ImageName {
        &self.name
    }

    /// Pushes a version.
    pub fn push(&self, version: &str) -> Digest {
        self.push_with(version, &[])
    }

    /// Pushes one that behaves otherwise.
    pub fn push_with(&self, version: &str, environment: &[(&str, &str)]) -> Digest {
        // Each registry's image is one of its own: one test's containers must not keep another's images.
        let image =
            AppImage::new(version).commit(&commit_of(version)).label("registry", self.registry.host());
        let image = environment.iter().fold(image, |image, (name, value)| image.environment(name, value));
        self.registry.put("org/app", version, &image.for_registry())
    }
}
