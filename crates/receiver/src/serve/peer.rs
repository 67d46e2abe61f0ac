//! Who asks: told by the kernel, never by the words of the one who asks. Pure but for the file it reads.

use std::path::Path;

use crate::paths::USER_PREFIX;
use crate::policy::admit::Asker;
use autotag_protocol::AppName;

/// Whose request it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// root: the server's owner. Every application, and what only an owner may.
    Owner,
    /// The key's user of one application. That application, and what the protocol offers.
    App(AppName),
}

impl Caller {
    /// Whether this caller may reach an application.
    pub fn may_reach(&self, app: &AppName) -> bool {
        match self {
            Self::Owner => true,
            Self::App(own) => own == app,
        }
    }

    /// As far as it decides what may be done.
    pub fn asker(&self) -> Asker {
        match self {
            Self::Owner => Asker::Owner,
            Self::App(_) => Asker::Key,
        }
    }

    /// As the journal names it.
    pub fn name(&self) -> String {
        match self {
            Self::Owner => "root".to_owned(),
            Self::App(app) => format!("{USER_PREFIX}{app}"),
        }
    }
}

/// The caller behind a user's number (SO_PEERCRED, unix(7)). `None`: nobody who has any business here.
///
/// The users are this machine's own (passwd(5)): `init` made them, and a directory service must not be able
/// to make one.
pub fn caller(user: u32, passwd: &Path) -> std::io::Result<Option<Caller>> {
    if user == 0 {
        return Ok(Some(Caller::Owner));
    }
    Ok(app_of(user, &std::fs::read_to_string(passwd)?).map(Caller::App))
}

fn app_of(user: u32, passwd: &str) -> Option<AppName> {
    let mut names = passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, number) = (fields.next()?, fields.nth(1)?);
        (number.parse() == Ok(user)).then_some(name)
    });
    let name = names.next()?;
    // Two names of one number: whose request it is, nobody can say.
    if names.next().is_some() {
        return None;
    }
    name.strip_prefix(USER_PREFIX)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\n\
        autotag-shop:*:990:990::/nonexistent:/bin/sh\n\
        autotag-shop-api:*:991:990::/nonexistent:/bin/sh\n\
        autotag_proxy:*:992:992::/nonexistent:/usr/sbin/nologin\n\
        autotag-:*:993:990::/:/bin/sh\n\
        twin-a:*:994:990::/:/bin/sh\n\
        autotag-twin:*:994:990::/:/bin/sh\n\
        broken\n\
        jo:x:1000:1000::/srv/jo:/bin/bash\n";

    #[test]
    fn only_an_applications_own_user_is_that_application() {
        for (user, app) in [
            (990, Some("shop")),
            (991, Some("shop-api")),
            (992, None),
            (993, None),
            (994, None),
            (1000, None),
            (1, None),
        ] {
            assert_eq!(app_of(user, PASSWD), app.map(|app| app.parse().unwrap()), "{user}");
        }
    }

    #[test]
    fn an_app_reaches_itself_alone() {
        let [shop, api] = ["shop", "shop-api"].map(|name| name.parse::<AppName>().unwrap());
        let caller = Caller::App(shop.clone());
        assert!(caller.may_reach(&shop) && !caller.may_reach(&api));
        assert!(Caller::Owner.may_reach(&api));
    }
}
