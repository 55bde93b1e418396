//! The two ways to send a mail, as they are configured.

use super::address::{Address, is_host};
use super::message::Sealed;
use super::secret::Secret;
use super::sendmail::Sendmail;
use super::smtp::{Cancel, Goodbye, Login, Server, Smtp, Tls};
use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;
use tripline_api::{
    ArgsError, Argument, BuildContext, Form, FriendlyDuration, ListenError, SecretFile,
    Wants,
};

/// How mails are sent, as it is written: the argument `via`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) enum Via {
    /// `Smtp(server: "smtp://mail.example.com:587")`.
    Smtp {
        /// `smtp://host[:port]`, or `smtps://` where TLS begins at once.
        server: Server,
        /// Whether `smtp://` goes on without TLS.
        starttls: Option<StartTls>,
        /// Whom to log in as.
        user: Option<String>,
        /// The file with the password, for its owner only.
        password_file: Option<PathBuf>,
        /// Certificates of authorities, instead of the system's.
        ca_file: Option<PathBuf>,
        /// The name in the server's certificate, when it is not the host's.
        server_name: Option<String>,
        /// What we call ourselves.
        hello: Option<String>,
        /// How long the server may take for an answer.
        timeout: Option<FriendlyDuration>,
    },
    /// `Sendmail()`: a program of this machine.
    Sendmail {
        /// The program and its first arguments.
        program: Option<Vec<String>>,
        /// How long the program may take.
        timeout: Option<FriendlyDuration>,
    },
}

/// What `smtp://` does about TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) enum StartTls {
    /// Nothing is said before TLS has begun.
    Required,
    /// All is said in clear.
    Never,
}

/// `via`, as it is described.
pub(crate) const VIA: Argument = Argument::needed(
    "via",
    Wants::OneOf(&[
        Form::with(
            "Smtp",
            SMTP,
            "Speaks to a server, or relay. `smtp://` goes over to TLS by STARTTLS, and \
             nothing is sent when the server does not offer that; `smtps://` begins with \
             TLS. With a server on this machine (localhost, 127.0.0.1, ::1) all goes in \
             clear.",
        ),
        Form::with(
            "Sendmail",
            SENDMAIL_ARGUMENTS,
            "Hands mails to a program of this machine. No shell is involved.",
        ),
    ]),
    r#"Smtp(server: "smtp://mail.example.com:587")"#,
    "How mails are sent.",
);

/// `give_up`, as it is described.
pub(crate) const GIVE_UP_ARGUMENT: Argument = Argument::optional(
    "give_up",
    Wants::Duration(GIVE_UP_MIN, GIVE_UP_MAX),
    r#""4h""#,
    "A recipient that is put off for so long while others get their mail is set aside.",
)
.or_duration(GIVE_UP);

/// `sender`, as it is described.
pub(crate) const SENDER: Argument = Argument::needed(
    "sender",
    Wants::Text,
    r#""Tripline <tripline@example.com>""#,
    "The address that mails come from.",
);

const SMTP: &[Argument] = &[
    Argument::needed(
        "server",
        Wants::Text,
        r#""smtps://mail.example.com""#,
        "The server: \"smtp://host\", at port 25, or \"smtps://host\", at 465; another port \
         stands behind it, `:587`.",
    ),
    Argument::optional(
        "starttls",
        Wants::OneOf(&[
            Form::word("Required", "nothing is said before TLS has begun"),
            Form::word("Never", "all goes in clear"),
        ]),
        "Never",
        "What \"smtp://\" does about TLS; `Required` unless given, but for a server on this \
         machine.",
    ),
    Argument::optional(
        "user",
        Wants::Text,
        r#""tripline""#,
        "Whom to log in as; never in clear to another machine.",
    ),
    Argument::optional(
        "password_file",
        Wants::Path,
        r#""smtp.password""#,
        "With `user`: a file with nothing but the password, which only its owner may read.",
    ),
    Argument::optional(
        "ca_file",
        Wants::Path,
        r#""ca.pem""#,
        "Certificates (PEM) to trust instead of the system's.",
    ),
    Argument::optional(
        "server_name",
        Wants::Text,
        r#""mx.example.com""#,
        "The name in the server's certificate, when it is not the host's.",
    ),
    Argument::optional(
        "hello",
        Wants::Text,
        r#""www.example.com""#,
        "What we call ourselves; this machine's name unless given.",
    ),
    TIMEOUT_ARGUMENT.with_doc(
        "How long the server may take for an answer; ten times that for the last one.",
    ),
];

const SENDMAIL_ARGUMENTS: &[Argument] = &[
    Argument::optional(
        "program",
        Wants::Texts,
        r#"["/usr/bin/msmtp", "-oi"]"#,
        "The path of a program and its first arguments, behind which `-f sender -- \
         recipients` is put.",
    )
    .or(r#"["/usr/sbin/sendmail", "-oi"]"#),
    TIMEOUT_ARGUMENT,
];

const TIMEOUT_ARGUMENT: Argument = Argument::optional(
    "timeout",
    Wants::Duration(TIMEOUT_MIN, TIMEOUT_MAX),
    r#""2m""#,
    "How long the program may take.",
)
.or_duration(TIMEOUT);

const TIMEOUT: Duration = Duration::from_secs(60);
const TIMEOUT_MIN: Duration = Duration::from_millis(10);
const TIMEOUT_MAX: Duration = Duration::from_secs(3600);

impl Via {
    /// Checks what can be checked without looking at anything.
    ///
    /// # Errors
    ///
    /// Naming the field that cannot be as it is.
    pub(crate) fn transport(
        self,
        context: &BuildContext<'_>,
    ) -> Result<Transport, ArgsError> {
        match self {
            Self::Smtp {
                server,
                starttls,
                user,
                password_file,
                ca_file,
                server_name,
                hello,
                timeout,
            } => {
                let tls = tls(&server, starttls)?;
                let login = login(context, user, password_file)?;
                if login.is_some() && tls == Tls::Never && !server.is_on_this_machine() {
                    return Err(ArgsError::new(
                        "`user` would have its password sent in clear to another \
                         machine: leave out `starttls: Never`, or leave out `user` and \
                         `password_file`",
                    ));
                }
                for (field, name) in [("server_name", &server_name), ("hello", &hello)] {
                    check_name(field, name.as_deref())?;
                }
                Ok(Transport::Smtp(Smtp {
                    tls,
                    login,
                    ca_file: ca_file.map(|file| context.path(&file)),
                    server_name: server_name.unwrap_or_else(|| server.host.clone()),
                    hello: hello.unwrap_or_else(hello_name),
                    timeout: check_timeout(timeout)?,
                    server,
                }))
            }
            Self::Sendmail { program, timeout } => {
                let program = match program {
                    None => vec![SENDMAIL.to_owned(), "-oi".to_owned()],
                    Some(program) => program,
                };
                let is_fine = |word: &String| !word.is_empty() && !word.contains('\0');
                if program.is_empty() || !program.iter().all(is_fine) {
                    return Err(ArgsError::new(
                        "`program` must name a program, and no word in it may be empty: \
                         write it like [\"/usr/sbin/sendmail\", \"-oi\"]",
                    ));
                }
                if !program[0].starts_with('/') {
                    return Err(ArgsError::new(
                        "`program` must begin with the whole path of a program, as in \
                         [\"/usr/sbin/sendmail\", \"-oi\"]: it is not searched for",
                    ));
                }
                Ok(Transport::Sendmail(Sendmail {
                    program,
                    timeout: check_timeout(timeout)?,
                }))
            }
        }
    }
}

const SENDMAIL: &str = "/usr/sbin/sendmail";

fn tls(server: &Server, starttls: Option<StartTls>) -> Result<Tls, ArgsError> {
    match (server.is_implicit, starttls) {
        (true, None) => Ok(Tls::Implicit),
        (true, Some(_)) => Err(ArgsError::new(
            "`starttls` is for servers at \"smtp://\": one at \"smtps://\" begins with TLS",
        )),
        (false, Some(StartTls::Never)) => Ok(Tls::Never),
        (false, Some(StartTls::Required)) => Ok(Tls::Later),
        (false, None) if server.is_on_this_machine() => Ok(Tls::Never),
        (false, None) => Ok(Tls::Later),
    }
}

fn login(
    context: &BuildContext<'_>,
    user: Option<String>,
    password_file: Option<PathBuf>,
) -> Result<Option<Login>, ArgsError> {
    match (user, password_file) {
        (None, None) => Ok(None),
        (Some(user), Some(file)) => {
            if user.is_empty() || user.len() > 255 || user.contains(char::is_control) {
                return Err(ArgsError::new("`user` must be one line of 1 to 255 bytes"));
            }
            Ok(Some(Login { user, password_file: context.path(&file) }))
        }
        (Some(_), None) => Err(ArgsError::new(
            "`user` needs a `password_file`: a file with nothing but the password, which \
             only its owner may read",
        )),
        (None, Some(_)) => {
            Err(ArgsError::new("`password_file` needs a `user`: whose password it is"))
        }
    }
}

fn check_name(field: &str, name: Option<&str>) -> Result<(), ArgsError> {
    match name {
        Some(name) if !is_host(name) && name.parse::<std::net::IpAddr>().is_err() => {
            Err(ArgsError::new(format!(
                "`{field}` must be the name of a host, such as \"mail.example.com\""
            )))
        }
        _ => Ok(()),
    }
}

fn check_timeout(written: Option<FriendlyDuration>) -> Result<Duration, ArgsError> {
    let timeout = written.map_or(TIMEOUT, |written| written.0);
    if (TIMEOUT_MIN..=TIMEOUT_MAX).contains(&timeout) {
        Ok(timeout)
    } else {
        Err(ArgsError::new("`timeout` must lie between \"10ms\" and \"1 hour\""))
    }
}

/// The argument `give_up`: how long a recipient may be put off while others get
/// their mail.
pub(crate) fn give_up(written: Option<FriendlyDuration>) -> Result<Duration, ArgsError> {
    let give_up = written.map_or(GIVE_UP, |written| written.0);
    if (GIVE_UP_MIN..=GIVE_UP_MAX).contains(&give_up) {
        Ok(give_up)
    } else {
        Err(ArgsError::new("`give_up` must lie between \"1s\" and \"366 days\""))
    }
}

const GIVE_UP: Duration = Duration::from_secs(3600);
const GIVE_UP_MIN: Duration = Duration::from_secs(1);
const GIVE_UP_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

/// What servers are greeted with: the name of this machine, if it is fit.
fn hello_name() -> String {
    let name = host_name();
    if is_host(&name) { name } else { "localhost".to_owned() }
}

/// The name of this machine.
pub(crate) fn host_name() -> String {
    let uname = rustix::system::uname();
    uname.nodename().to_string_lossy().into_owned()
}

/// A way to send mails.
#[derive(Clone, Debug)]
pub(crate) enum Transport {
    /// Over the network.
    Smtp(Smtp),
    /// By a program of this machine.
    Sendmail(Sendmail),
}

impl Transport {
    /// Reads what is needed from files, so that a mistake shows at the start
    /// and not with the first mail.
    ///
    /// # Errors
    ///
    /// [`ListenError::Stop`], saying which file is wrong and how.
    pub(crate) fn prepare(&self) -> Result<(), ListenError> {
        match self {
            Self::Smtp(smtp) => smtp.prepare().map(|_| ()).map_err(ListenError::Stop),
            Self::Sendmail(sendmail) => sendmail.prepare().map_err(ListenError::Stop),
        }
    }

    /// The file with the password, if there is one.
    pub(crate) fn secrets(&self) -> Vec<SecretFile> {
        let Self::Smtp(smtp) = self else { return Vec::new() };
        let file = smtp.login.iter().map(|login| SecretFile {
            argument: "password_file",
            path: login.password_file.clone(),
            read: Secret::look,
        });
        file.collect()
    }

    /// Sends a mail to all it is for, and says what became of it. Blocks, each
    /// step for the time-out at most, until it has come to something or is
    /// cancelled.
    /// The connection, if one is open still, is ended when it is dropped.
    pub(crate) fn send(
        &self,
        mail: &Sealed,
        cancel: &Cancel,
    ) -> (Report, Option<Goodbye>) {
        match self {
            Self::Smtp(smtp) => smtp.send(mail, cancel),
            Self::Sendmail(sendmail) => (sendmail.send(mail, cancel), None),
        }
    }
}

/// What a person can do where a mail server refuses more than a mail.
pub(super) const ADVICE: &str = ". Put it right, there or in the configuration, and start \
    again: nothing is lost";

/// What became of a mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// What was said of each recipient.
    Answered(Vec<(String, Outcome)>),
    /// Nobody has it as far as is known: to be tried again.
    Failed(String),
    /// Nobody has it, and a person must mend something first.
    Stop(String),
}

/// What became of a mail to one of its recipients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The next in line has taken it upon itself to deliver it.
    Delivered,
    /// It may be taken later.
    Later(String),
    /// It will never be taken.
    Refused(String),
}

/// The sender's address, checked.
pub(crate) fn check_recipients(to: &[Address]) -> Result<(), ArgsError> {
    use super::message::Message;
    if to.is_empty() || to.len() > Message::RECIPIENTS_MAX {
        return Err(ArgsError::new(format!(
            "`to` must have at least one address and at most {}: write it like \
             [\"ops@example.com\"]",
            Message::RECIPIENTS_MAX
        )));
    }
    for (index, address) in to.iter().enumerate() {
        if to[..index].iter().any(|other| other.mailbox() == address.mailbox()) {
            return Err(ArgsError::new(format!(
                "`to` has `{}` twice: leave one of them out",
                address.mailbox()
            )));
        }
    }
    Ok(())
}
