//! The Lua side: compiled scripts, what they may call, and how values cross over.
//!
//! Scripts see `KEYS`, `ARGV`, `redis.call`, `redis.pcall`, `redis.error_reply`,
//! `redis.status_reply`, the libraries `table`, `string`, `math` (without `random`), of `struct` what [`packing`](super::packing)
//! offers, and base
//! functions that reach neither files nor other scripts. Every global is read-only, reading one
//! that does not exist is an error, and a script that runs too long is stopped.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use mlua::chunk::ChunkMode;
use mlua::{Function, HookTriggers, IntoLua, Lua, LuaOptions, MultiValue, StdLib, Table, Value, VmState};

use super::commands::execute;
use super::keyspace::{Args, Keyspace};
use super::number::{push_double, push_int};
use super::packing;
use crate::store::host::{Call, Reply, ScriptError, StoreError};
use crate::store::script::Script;

/// Instructions between two looks at the budget of a running script.
const HOOK_EVERY: u32 = 10_000;
/// Nesting of a reply; Redis allows 5,000, our replies are flat.
const MAX_DEPTH: usize = 16;

/// Builds the environment: `command` is [`Sandbox`]'s entry, which returns `{err = …}` instead of raising.
const PRELUDE: &str = r"
local command, pack, unpacked = ...
local function frozen(members, what)
    local function refuse(_, name)
        error('script attempted to write ' .. what .. tostring(name), 2)
    end
    local function missing(_, name)
        error('script attempted to read the unknown ' .. what .. tostring(name), 2)
    end
    setmetatable(members, { __index = missing, __metatable = false })
    return setmetatable({}, { __index = members, __newindex = refuse, __metatable = false })
end
local function members(library, without)
    local copy = {}
    for name, member in pairs(library) do
        if not without[name] then copy[name] = member end
    end
    return copy
end
local type, error = type, error
local redis = {
    pcall = command,
    call = function(...)
        local reply = command(...)
        if type(reply) == 'table' and reply.err then error(reply, 0) end
        return reply
    end,
    error_reply = function(text) return { err = text } end,
    status_reply = function(text) return { ok = text } end,
}
getmetatable('').__metatable = false
return frozen({
    assert = assert, error = error, ipairs = ipairs, next = next, pairs = pairs, pcall = pcall,
    rawequal = rawequal, rawget = rawget, select = select, tonumber = tonumber,
    tostring = tostring, type = type, unpack = unpack, xpcall = xpcall,
    string = frozen(members(string, { dump = true }), 'string.'),
    table = frozen(members(table, {}), 'table.'),
    math = frozen(members(math, { random = true, randomseed = true }), 'math.'),
    redis = frozen(redis, 'redis.'),
    struct = frozen({ pack = pack, unpack = unpacked }, 'struct.'),
}, 'global ')
";

/// What the command callback works on.
#[derive(Debug)]
struct Desk {
    keyspace: Keyspace,
    args: Args,
}

/// A script's function, and the text it was made from.
#[derive(Debug)]
struct Compiled {
    source: &'static str,
    function: Function,
}

/// One Lua state with its keyspace.
#[derive(Debug)]
pub(super) struct Sandbox {
    lua: Lua,
    pcall: Function,
    environment: Table,
    compiled: HashMap<&'static str, Compiled>,
    desk: Arc<Mutex<Desk>>,
    /// Hook ticks the running script has left.
    ticks_left: Arc<AtomicU32>,
    max_ticks: u32,
}

impl Sandbox {
    /// A Lua state over `keyspace`, with `scripts` compiled; each may run `max_instructions`.
    pub(super) fn new(
        keyspace: Keyspace,
        scripts: &[&'static Script],
        max_instructions: u64,
    ) -> Result<Self, StoreError> {
        let max_ticks = u32::try_from(max_instructions / u64::from(HOOK_EVERY)).unwrap_or(u32::MAX).max(1);
        let desk = Arc::new(Mutex::new(Desk { keyspace, args: Args::default() }));
        let mut sandbox = Self::build(desk, max_ticks)
            .map_err(|fault| StoreError::Compile { script: "prelude", message: fault.to_string() })?;
        for script in scripts {
            sandbox.compile(script)?;
        }
        Ok(sandbox)
    }

    fn build(desk: Arc<Mutex<Desk>>, max_ticks: u32) -> mlua::Result<Self> {
        let lua = Lua::new_with(StdLib::TABLE | StdLib::STRING | StdLib::MATH, LuaOptions::default())?;
        let desk_of_command = Arc::clone(&desk);
        let command = lua.create_function(move |_, args: MultiValue| {
            let mut desk = desk_of_command.lock().unwrap_or_else(PoisonError::into_inner);
            let Desk { keyspace, args: buffer } = &mut *desk;
            let reply = match read_args(&args, buffer) {
                Ok(()) => execute(keyspace, buffer),
                Err(refusal) => Reply::Error(refusal),
            };
            Ok(reply)
        })?;
        let environment: Table = lua.load(PRELUDE).set_name("=prelude").call((
            command,
            packing::pack(&lua)?,
            packing::unpack(&lua)?,
        ))?;
        let pcall = lua.globals().get("pcall")?;
        let ticks_left = Arc::new(AtomicU32::new(max_ticks));
        let sandbox = Self { lua, pcall, environment, compiled: HashMap::new(), desk, ticks_left, max_ticks };
        sandbox.arm()?;
        Ok(sandbox)
    }

    /// Compiles `script` unless that was done before.
    pub(super) fn compile(&mut self, script: &'static Script) -> Result<&Function, StoreError> {
        let compiled = match self.compiled.entry(script.name) {
            Entry::Occupied(known) if std::ptr::eq(known.get().source, script.source) => known.into_mut(),
            slot => {
                // On the script's own first line, so that line numbers in errors are the file's.
                let text = format!("local KEYS, ARGV = ...; {}", script.source);
                let chunk =
                    self.lua.load(text).set_name(format!("={}", script.name)).set_mode(ChunkMode::Text);
                let function = chunk.set_environment(self.environment.clone()).into_function();
                let function = function.map_err(|fault| StoreError::Compile {
                    script: script.name,
                    message: fault.to_string(),
                })?;
                slot.insert_entry(Compiled { source: script.source, function }).into_mut()
            }
        };
        Ok(&compiled.function)
    }

    /// Runs one call. Whatever goes wrong inside is the reply, as in Redis.
    pub(super) fn run(&mut self, call: &Call) -> Result<Reply, StoreError> {
        self.compile(call.script)?;
        self.ticks_left.store(self.max_ticks, Ordering::Relaxed);
        let Some(compiled) = self.compiled.get(call.script.name) else { return Ok(Reply::Nil) };
        let outcome = self.call(&compiled.function, call);
        if self.ticks_left.load(Ordering::Relaxed) == 0 {
            self.arm().map_err(|fault| StoreError::Unavailable { reason: fault.to_string() })?;
        }
        Ok(outcome.unwrap_or_else(|fault| Reply::Error(lua_error(&fault))))
    }

    fn call(&self, function: &Function, call: &Call) -> mlua::Result<Reply> {
        let keys = self.lua.create_sequence_from(call.keys.iter().map(|key| Raw(key.as_bytes())))?;
        let args = self.lua.create_sequence_from(call.args.iter().map(|arg| Raw(arg.as_bytes())))?;
        let (returned, value): (bool, Value) = self.pcall.call((function, keys, args))?;
        let reply = from_lua(value, MAX_DEPTH)?;
        Ok(match reply {
            reply if returned => reply,
            Reply::Error(raised) => Reply::Error(raised),
            // Raised with a plain value: its text is the message.
            Reply::Bulk(text) => Reply::Error(script_error(&String::from_utf8_lossy(&text))),
            _ => Reply::Error(script_error("the script raised a value without text")),
        })
    }

    /// Gives `work` the keyspace; scripts do not run meanwhile.
    pub(super) fn with_keyspace<T>(&self, work: impl FnOnce(&mut Keyspace) -> T) -> T {
        work(&mut self.desk.lock().unwrap_or_else(PoisonError::into_inner).keyspace)
    }

    /// Counts instructions from now on.
    fn arm(&self) -> mlua::Result<()> {
        let ticks = Arc::clone(&self.ticks_left);
        self.lua.set_hook(HookTriggers::new().every_nth_instruction(HOOK_EVERY), move |lua, _| {
            match ticks.load(Ordering::Relaxed) {
                0 => {}
                left => {
                    ticks.store(left - 1, Ordering::Relaxed);
                    if left > 1 {
                        return Ok(VmState::Continue);
                    }
                }
            }
            // A script that catches this error must not get further than its next instruction.
            lua.set_hook(HookTriggers::new().every_nth_instruction(1), |_, _| Err(runaway()))?;
            Err(runaway())
        })
    }
}

fn runaway() -> mlua::Error {
    mlua::Error::RuntimeError("the script ran too long and was stopped".into())
}

fn script_error(message: &str) -> ScriptError {
    ScriptError { code: "ERR".into(), message: message.into() }
}

/// The reply for a fault that Lua or a callback raised.
fn lua_error(fault: &mlua::Error) -> ScriptError {
    match fault {
        mlua::Error::CallbackError { cause, .. } => lua_error(cause),
        mlua::Error::RuntimeError(message) => script_error(message),
        other => script_error(&other.to_string()),
    }
}

/// Bytes on their way into Lua.
struct Raw<'a>(&'a [u8]);

impl IntoLua for Raw<'_> {
    fn into_lua(self, lua: &Lua) -> mlua::Result<Value> {
        lua.create_string(self.0).map(Value::String)
    }
}

impl IntoLua for Reply {
    /// Nil becomes `false`, status `{ok = …}`, error `{err = …}`.
    fn into_lua(self, lua: &Lua) -> mlua::Result<Value> {
        let labelled = |label: &str, text: &str| -> mlua::Result<Value> {
            let table = lua.create_table_with_capacity(0, 1)?;
            table.raw_set(label, text)?;
            Ok(Value::Table(table))
        };
        match self {
            Self::Nil => Ok(Value::Boolean(false)),
            Self::Int(value) => Ok(Value::Integer(value)),
            Self::Bulk(bytes) => Raw(&bytes).into_lua(lua),
            Self::Status(text) => labelled("ok", &text),
            Self::Error(error) => labelled("err", &error.to_string()),
            Self::Array(items) => lua.create_sequence_from(items).map(Value::Table),
        }
    }
}

/// Copies a command's arguments; numbers become text as `%.17g` writes them.
fn read_args(values: &MultiValue, args: &mut Args) -> Result<(), ScriptError> {
    args.clear();
    for value in values {
        match value {
            Value::String(text) => args.push(&text.as_bytes()),
            // Above this, an integral number is written with an exponent.
            Value::Integer(n) if n.unsigned_abs() < 1_000_000_000_000_000 => {
                args.push_with(|out| push_int(out, *n));
            }
            #[expect(clippy::cast_precision_loss, reason = "it was a double in Lua")]
            Value::Integer(n) => args.push_with(|out| push_double(out, *n as f64)),
            Value::Number(n) => args.push_with(|out| push_double(out, *n)),
            _ => return Err(script_error("Lua redis lib command arguments must be strings or integers")),
        }
    }
    Ok(())
}

/// What Redis makes of a script's result: numbers lose their fraction, `false` is nil, `true` is 1,
/// a table is an error, a status, or an array up to its first nil.
fn from_lua(value: Value, depth: usize) -> mlua::Result<Reply> {
    #[expect(clippy::cast_possible_truncation, reason = "the fraction is dropped by contract")]
    let reply = match value {
        Value::Integer(n) => Reply::Int(n),
        Value::Number(n) => Reply::Int(n as i64),
        Value::Boolean(true) => Reply::Int(1),
        Value::String(text) => Reply::Bulk(Bytes::copy_from_slice(&text.as_bytes())),
        Value::Error(fault) => Reply::Error(lua_error(&fault)),
        Value::Table(_) if depth == 0 => {
            Reply::Error(script_error("reached the stack limit of nested replies"))
        }
        Value::Table(table) => {
            if let Value::String(text) = table.raw_get("err")? {
                return Ok(Reply::Error(ScriptError::parse(&text.to_string_lossy())));
            }
            if let Value::String(text) = table.raw_get("ok")? {
                return Ok(Reply::Status(text.to_string_lossy()));
            }
            let mut items = Vec::with_capacity(table.raw_len());
            for index in 1_usize.. {
                match table.raw_get(index)? {
                    Value::Nil => break,
                    item => items.push(from_lua(item, depth - 1)?),
                }
            }
            Reply::Array(items)
        }
        _ => Reply::Nil,
    };
    Ok(reply)
}
