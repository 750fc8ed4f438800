//! The language server: what editors are told while a spec is being written.
//!
//! ```text
//!  pipe ─ wire ─ serve ─ document ─┬─ diagnostics  what `refit check` says          actions  what was meant
//!                                  ├─ scan ─ mentions ─ definition, symbols         hover    what `log` and `plan` say
//!                                  └─ completion   stages, columns, labels, metrics, variables, the hub's cache
//! ```
//!
//! It knows what no server that reads the JSON Schema can: edges, files, columns, labels, results; keys and values of enums are
//! left to those. Everything is said of the text in the editor, saved or not. Nothing is fetched, nothing is run, nothing is
//! written, and of data no more is read than a header. Messages are taken from the pipe as they come: of several changes in a
//! row only the last is looked at, a request that was cancelled before its turn is not worked on, and problems are told once
//! the client is quiet for a moment.
//!
//! Deliberately absent: threads that work side by side. Whatever is asked is answered within milliseconds.

mod actions;
mod capabilities;
mod completion;
mod definition;
mod diagnostics;
mod document;
mod hover;
mod mentions;
mod positions;
mod scan;
mod symbols;
mod wire;

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, BufRead, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use lsp_server::{ErrorCode, Message, Notification, Request, RequestId, Response};
use lsp_types::{
    CodeActionParams, CompletionParams, Diagnostic, DidChangeTextDocumentParams,
    DidCloseTextDocumentParams, DidOpenTextDocumentParams, DocumentSymbolParams,
    GotoDefinitionParams, HoverParams, InitializeParams, PublishDiagnosticsParams, ReferenceParams,
    RenameParams, TextDocumentPositionParams, Uri,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use self::completion::Headers;
use self::document::Document;
use self::positions::Encoding;
use self::wire::Received;
use crate::spec::Problem;

/// How a conversation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The client asked to shut down, then to exit.
    Orderly,
    /// The client went away, or cannot be understood any more.
    Sudden,
}

/// How long the client must be quiet before problems are told.
const QUIET: Duration = Duration::from_millis(30);

/// Serves one client, until it says that it is done or goes away. `output` gets nothing but messages.
pub fn serve(mut input: impl BufRead + Send + 'static, output: &mut dyn Write) -> End {
    let (sender, receiver) = channel();
    // The thread ends with the pipe, or with the process.
    let listening = std::thread::Builder::new().spawn(move || {
        loop {
            let received = wire::receive(&mut input);
            let last = matches!(received, Received::End(_));
            if sender.send(received).is_err() || last {
                return;
            }
        }
    });
    if let Err(error) = listening {
        tracing::error!("no thread to listen with: {error}");
        return End::Sudden;
    }
    let mut server = Server {
        queue: RefCell::default(),
        receiver,
        output,
        phase: Phase::New,
        encoding: Encoding::default(),
        root: std::env::current_dir().unwrap_or_default(),
        documents: BTreeMap::new(),
        headers: Headers::default(),
    };
    match server.converse() {
        Ok(end) => end,
        Err(error) => {
            tracing::error!("the client does not listen any more: {error}");
            End::Sudden
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    New,
    Running,
    ShutDown,
}

/// A document, and what its client was told of it.
struct Open {
    document: Document,
    /// Whether its problems are still to be told.
    dirty: bool,
    /// The problems of its sweep's values, once they are known.
    of_sweep: Vec<Problem>,
}

struct Server<'o> {
    queue: RefCell<VecDeque<Received>>,
    receiver: Receiver<Received>,
    output: &'o mut dyn Write,
    phase: Phase,
    encoding: Encoding,
    /// Where documents stand that are in no file.
    root: PathBuf,
    documents: BTreeMap<String, Open>,
    headers: Headers,
}

/// Why a request has no answer.
struct Refusal(ErrorCode, String);

type Answer = Result<Value, Refusal>;

impl Server<'_> {
    fn converse(&mut self) -> io::Result<End> {
        loop {
            let Some(received) = self.next() else {
                self.tell_problems()?;
                continue;
            };
            match received {
                Received::End(why) => {
                    if let Some(why) = why {
                        tracing::error!("the client cannot be understood: {why}");
                    }
                    return Ok(self.end());
                }
                Received::Malformed(code, why) => {
                    tracing::warn!("a message is refused: {why}");
                    wire::refuse(self.output, code, &why)?;
                }
                Received::Message(Message::Notification(one)) if one.method == "exit" => {
                    return Ok(self.end());
                }
                Received::Message(Message::Notification(one)) => self.notified(one)?,
                Received::Message(Message::Request(request)) => self.asked(request)?,
                // Nothing is ever asked of the client.
                Received::Message(Message::Response(_)) => {}
            }
        }
    }

    fn end(&self) -> End {
        match self.phase {
            Phase::ShutDown => End::Orderly,
            _ => End::Sudden,
        }
    }

    /// The next message; nothing where the client is quiet and has problems to hear.
    fn next(&mut self) -> Option<Received> {
        self.take_in();
        if let Some(next) = self.queue.get_mut().pop_front() {
            return Some(next);
        }
        if self.documents.values().any(|open| open.dirty) {
            match self.receiver.recv_timeout(QUIET) {
                Ok(next) => Some(next),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => Some(Received::End(None)),
            }
        } else {
            Some(self.receiver.recv().unwrap_or(Received::End(None)))
        }
    }

    /// Queues what has come; whether something waits.
    fn take_in(&self) -> bool {
        let mut queue = self.queue.borrow_mut();
        queue.extend(self.receiver.try_iter());
        !queue.is_empty()
    }

    fn asked(&mut self, request: Request) -> io::Result<()> {
        let Request { id, method, params } = request;
        let answer = if self.is_cancelled(&id) {
            Err(Refusal(
                ErrorCode::RequestCanceled,
                "cancelled before its turn".to_owned(),
            ))
        } else {
            let answered = catch_unwind(AssertUnwindSafe(|| self.answer(&method, params)));
            answered.unwrap_or_else(|_| {
                tracing::error!("a fault of refit itself while answering `{method}`");
                let why = "a fault of refit itself; please report it".to_owned();
                Err(Refusal(ErrorCode::InternalError, why))
            })
        };
        let response = match answer {
            Ok(result) => Response::new_ok(id, result),
            Err(Refusal(code, why)) => Response::new_err(id, code as i32, why),
        };
        wire::send(self.output, &response.into())
    }

    /// Whether the client has taken back a request meanwhile.
    fn is_cancelled(&self, id: &RequestId) -> bool {
        self.take_in();
        let wanted = serde_json::to_value(id).unwrap_or_default();
        self.queue.borrow().iter().any(|received| match received {
            Received::Message(Message::Notification(one)) => {
                one.method == "$/cancelRequest" && one.params.get("id") == Some(&wanted)
            }
            _ => false,
        })
    }

    fn answer(&mut self, method: &str, params: Value) -> Answer {
        match (self.phase, method) {
            (Phase::New, "initialize") => return self.initialize(params),
            (Phase::New, _) => {
                let why = "`initialize` comes first".to_owned();
                return Err(Refusal(ErrorCode::ServerNotInitialized, why));
            }
            (Phase::Running, "shutdown") => {
                self.phase = Phase::ShutDown;
                return Ok(Value::Null);
            }
            (Phase::Running, "initialize") | (Phase::ShutDown, _) => {
                let why = format!("`{method}` cannot be asked now");
                return Err(Refusal(ErrorCode::InvalidRequest, why));
            }
            (Phase::Running, _) => {}
        }
        match method {
            "textDocument/completion" => {
                let params: CompletionParams = read(params)?;
                let place = params.text_document_position;
                let Some(open) = self.documents.get(uri(&place.text_document.uri)) else {
                    return Ok(Value::Null);
                };
                let document = &open.document;
                if !document.is_spec() {
                    return Ok(Value::Null);
                }
                let offset = document.offset(place.position);
                told(completion::complete(document, offset, &mut self.headers))
            }
            "textDocument/definition" => {
                let params: GotoDefinitionParams = read(params)?;
                self.at(&params.text_document_position_params, |document, offset| {
                    told(definition::definition(document, offset))
                })
            }
            "textDocument/references" => {
                let params: ReferenceParams = read(params)?;
                let declared_too = params.context.include_declaration;
                self.at(&params.text_document_position, |document, offset| {
                    told(definition::references(document, offset, declared_too))
                })
            }
            "textDocument/prepareRename" => {
                let params: TextDocumentPositionParams = read(params)?;
                self.at(&params, |document, offset| {
                    told(definition::renamable(document, offset))
                })
            }
            "textDocument/rename" => {
                let params: RenameParams = read(params)?;
                self.at(&params.text_document_position, |document, offset| {
                    let edits = definition::rename(document, offset, &params.new_name);
                    told(edits.map_err(|why| Refusal(ErrorCode::InvalidParams, why))?)
                })
            }
            "textDocument/hover" => {
                let params: HoverParams = read(params)?;
                self.at(&params.text_document_position_params, |document, offset| {
                    told(hover::hover(document, offset))
                })
            }
            "textDocument/documentSymbol" => {
                let params: DocumentSymbolParams = read(params)?;
                let open = self.documents.get(uri(&params.text_document.uri));
                let open = open.filter(|open| open.document.is_spec());
                told(open.map(|open| symbols::symbols(&open.document)))
            }
            "textDocument/codeAction" => {
                let params: CodeActionParams = read(params)?;
                let open = self.documents.get(uri(&params.text_document.uri));
                let open = open.filter(|open| open.document.is_spec());
                let wanted = params.context.only.as_ref();
                let wanted = wanted.is_none_or(|kinds| {
                    kinds
                        .iter()
                        .any(|kind| matches!(kind.as_str(), "" | "quickfix"))
                });
                told(open.filter(|_| wanted).map(|open| {
                    let shown = &params.context.diagnostics;
                    actions::actions(&open.document, &open.of_sweep, params.range, shown)
                }))
            }
            _ => Err(Refusal(
                ErrorCode::MethodNotFound,
                format!("`{method}` is not answered"),
            )),
        }
    }

    /// Answers from a place of a spec; with nothing where it is none.
    fn at(
        &self,
        place: &TextDocumentPositionParams,
        answer: impl FnOnce(&Document, usize) -> Answer,
    ) -> Answer {
        match self.documents.get(uri(&place.text_document.uri)) {
            Some(open) if open.document.is_spec() => {
                answer(&open.document, open.document.offset(place.position))
            }
            _ => Ok(Value::Null),
        }
    }

    fn initialize(&mut self, params: Value) -> Answer {
        let params: InitializeParams = read(params)?;
        let general = params.capabilities.general.as_ref();
        let offered = general.and_then(|general| general.position_encodings.as_deref());
        self.encoding = Encoding::of(offered);
        let folders = params.workspace_folders.as_deref().unwrap_or_default();
        let folder = folders
            .first()
            .and_then(|folder| document::path_of(uri(&folder.uri)));
        if let Some(folder) = folder {
            self.root = folder;
        }
        self.phase = Phase::Running;
        let capabilities = capabilities::of_server(self.encoding);
        Ok(json!({
            "capabilities": capabilities,
            "serverInfo": { "name": "refit", "version": env!("CARGO_PKG_VERSION") },
        }))
    }

    fn notified(&mut self, notification: Notification) -> io::Result<()> {
        let Notification { method, params } = notification;
        if self.phase != Phase::Running {
            return Ok(());
        }
        let unread = |refusal: Refusal| {
            let Refusal(_, why) = refusal;
            tracing::warn!("`{method}` is passed over: {why}");
        };
        match method.as_str() {
            "textDocument/didOpen" => match read::<DidOpenTextDocumentParams>(params) {
                Ok(params) => {
                    let opened = params.text_document;
                    self.put(&opened.uri, opened.version, opened.text);
                }
                Err(refusal) => unread(refusal),
            },
            "textDocument/didChange" => match read::<DidChangeTextDocumentParams>(params) {
                Ok(mut params) => {
                    let whole = params.content_changes.pop();
                    if let Some(change) = whole.filter(|change| change.range.is_none()) {
                        let changed = params.text_document;
                        self.put(&changed.uri, changed.version, change.text);
                    } else {
                        tracing::warn!("a change without the whole text is passed over");
                    }
                }
                Err(refusal) => unread(refusal),
            },
            // A file that one spec names may be another that was just saved, or written by a run.
            "textDocument/didSave" | "workspace/didChangeWatchedFiles" => {
                for open in self.documents.values_mut() {
                    open.document.forget();
                    open.dirty = true;
                }
            }
            "textDocument/didClose" => match read::<DidCloseTextDocumentParams>(params) {
                Ok(params) => {
                    let closed = uri(&params.text_document.uri);
                    if self.documents.remove(closed).is_some() {
                        self.publish(closed, None, Vec::new())?;
                    }
                }
                Err(refusal) => unread(refusal),
            },
            _ => {}
        }
        Ok(())
    }

    fn put(&mut self, address: &Uri, version: i32, text: String) {
        let name = uri(address).to_owned();
        let document = Document::new(name.clone(), version, text, &self.root, self.encoding);
        let open = Open {
            document,
            dirty: true,
            of_sweep: Vec::new(),
        };
        self.documents.insert(name, open);
    }

    /// Tells the problems of documents that changed, unless something comes that may change them again.
    fn tell_problems(&mut self) -> io::Result<()> {
        let dirty = self.documents.iter().filter(|(_, open)| open.dirty);
        let dirty: Vec<String> = dirty.map(|(name, _)| name.clone()).collect();
        for name in dirty {
            if self.take_in() {
                return Ok(());
            }
            let (version, told) = {
                let Some(open) = self.documents.get_mut(&name) else {
                    continue;
                };
                open.dirty = false;
                open.of_sweep.clear();
                let told =
                    catch_unwind(AssertUnwindSafe(|| diagnostics::shown(&open.document, &[])));
                let told = told.unwrap_or_else(|_| {
                    tracing::error!("a fault of refit itself while checking {name}");
                    Vec::new()
                });
                (open.document.version, told)
            };
            let sound = told.is_empty();
            self.publish(&name, Some(version), told)?;
            if !sound {
                continue;
            }
            let open = self.documents.get(&name);
            let Some(open) = open.filter(|open| open.document.is_spec()) else {
                continue;
            };
            let document = &open.document;
            let stopped = || self.take_in();
            let found = catch_unwind(AssertUnwindSafe(|| {
                diagnostics::of_sweep(document.checked(), &stopped)
            }));
            let Ok(Some(problems)) = found else {
                // Stopped: they are looked for again when the client is quiet.
                if let (Ok(None), Some(open)) = (found, self.documents.get_mut(&name)) {
                    open.dirty = true;
                }
                return Ok(());
            };
            if problems.is_empty() {
                continue;
            }
            let told = diagnostics::shown(document, &problems);
            if let Some(open) = self.documents.get_mut(&name) {
                open.of_sweep = problems;
            }
            self.publish(&name, Some(version), told)?;
        }
        Ok(())
    }

    fn publish(
        &mut self,
        name: &str,
        version: Option<i32>,
        diagnostics: Vec<Diagnostic>,
    ) -> io::Result<()> {
        let Ok(uri) = Uri::from_str(name) else {
            return Ok(());
        };
        let params = PublishDiagnosticsParams::new(uri, diagnostics, version);
        let method = "textDocument/publishDiagnostics".to_owned();
        let notification = Notification::new(method, params);
        wire::send(self.output, &notification.into())
    }
}

fn uri(uri: &Uri) -> &str {
    uri.as_str()
}

fn read<P: DeserializeOwned>(params: Value) -> Result<P, Refusal> {
    serde_json::from_value(params)
        .map_err(|error| Refusal(ErrorCode::InvalidParams, error.to_string()))
}

fn told(answer: impl Serialize) -> Answer {
    serde_json::to_value(answer)
        .map_err(|error| Refusal(ErrorCode::InternalError, error.to_string()))
}
