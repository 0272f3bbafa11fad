//! What requests to LLMs say: OpenAI (chat, Responses, completions), Anthropic, Gemini, Bedrock, and tools of MCP
//! servers. All shapes are looked for in every body: what a server does not know it leaves alone, and what it does
//! know a policy must see.

use super::Unreadable;
use super::form::Pairs;
use super::json::Node;
use crate::BodyFacts;

/// Keys of the greatest number of tokens, and tables that they may stand in.
const TOKENS: &[&str] = &[
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "max_tokens_to_sample",
    "max_new_tokens",
    "max_gen_len",
    "maxOutputTokens",
    "maxTokens",
    "maxTokenCount",
];
const TABLES: &[&str] =
    &["generationConfig", "generation_config", "inferenceConfig", "textGenerationConfig", "parameters"];
/// How many answers are asked for.
const ANSWERS: &[&str] = &["n", "candidateCount", "candidate_count"];
/// Keys under which a request names models beside its own.
const OTHER_MODELS: &[&str] = &["models", "fallbacks", "fallback_models"];

/// Takes what a document says.
pub(super) fn take(read: &mut BodyFacts, document: &Node<'_>) -> Result<(), Unreadable> {
    let Node::Object(_) = document else { return Err(Unreadable("its body is no JSON object")) };
    if let Some(model) = document.either(&["model", "modelId", "model_id"])? {
        take_model(read, model.text().ok_or(Unreadable("its model is no string"))?)?;
    }
    for key in OTHER_MODELS {
        if document.field(key)?.is_some() {
            return Err(Unreadable("its body names models beside its own"));
        }
    }
    read.max_tokens = tokens(document)?;
    if let Some(stream) = document.field("stream")? {
        let Node::Bool(stream) = stream else { return Err(Unreadable("`stream` is neither true nor false")) };
        read.stream = *stream;
    }
    offered(document, &mut read.tools_offered)?;
    called(document, &mut read.tools_called)
}

/// A body has the model of its path, or one of its own.
fn take_model(read: &mut BodyFacts, model: &str) -> Result<(), Unreadable> {
    let plain = |model: &str| model.rsplit('/').next().unwrap_or_default().to_owned();
    match &read.model {
        Some(known) if known != model && plain(known) != plain(model) => {
            Err(Unreadable("its path and its body name two models"))
        }
        Some(_) => Ok(()),
        None => {
            read.model = Some(model.to_owned());
            Ok(())
        }
    }
}

/// Takes what a form in parts says.
pub(super) fn take_parts(read: &mut BodyFacts, parts: &Pairs) -> Result<(), Unreadable> {
    for (number, (name, value)) in parts.iter().enumerate() {
        let is_known = ["model", "stream"].iter().any(|key| name.eq_ignore_ascii_case(key));
        if !is_known {
            continue;
        }
        if parts.iter().take(number).any(|(other, _)| other.eq_ignore_ascii_case(name)) {
            return Err(Unreadable("a field of its form is there twice"));
        }
        match name.as_str() {
            "model" => take_model(read, value)?,
            "stream" => read.stream = value.eq_ignore_ascii_case("true") || value == "1",
            _ => {
                return Err(Unreadable(
                    "a field of its form is in letters that some servers take for another",
                ));
            }
        }
    }
    Ok(())
}

/// The greatest number of tokens that any key allows, for each answer.
fn tokens(document: &Node<'_>) -> Result<Option<u64>, Unreadable> {
    let mut tables = vec![document];
    for key in TABLES {
        tables.extend(document.field(key)?);
    }
    let (mut most, mut answers) = (None, 1);
    for table in tables {
        for key in TOKENS {
            if let Some(value) = table.field(key)? {
                most = most.max(Some(number(value)?));
            }
        }
        for key in ANSWERS {
            if let Some(value) = table.field(key)? {
                answers = answers.max(number(value)?);
            }
        }
    }
    Ok(most.map(|most| most.saturating_mul(answers)))
}

/// A whole number that is not negative; one that is -1 has no limit to many servers.
fn number(value: &Node<'_>) -> Result<u64, Unreadable> {
    match value {
        Node::Number(number) if *number >= 0.0 && number.fract() == 0.0 => Ok(*number as u64),
        Node::Number(number) if *number < 0.0 => Ok(u64::MAX),
        _ => Err(Unreadable("a number of its body is none")),
    }
}

/// Names that a call or a tool has under these keys, directly or in a table.
fn names(of: &Node<'_>, tables: &[&str], found: &mut Vec<String>) -> Result<bool, Unreadable> {
    let before = found.len();
    let mut all = vec![of];
    for key in tables {
        all.extend(of.field(key)?);
    }
    for table in all {
        for item in table.items() {
            if let Some(name) = item.field("name")? {
                found.push(name.text().ok_or(Unreadable("the name of a tool is no string"))?.to_owned());
            }
        }
    }
    Ok(found.len() > before)
}

/// Tools that the model may call.
fn offered(document: &Node<'_>, found: &mut Vec<String>) -> Result<(), Unreadable> {
    const TABLES: &[&str] =
        &["function", "custom", "toolSpec", "functionDeclarations", "function_declarations"];
    let config = document.either(&["toolConfig", "tool_config"])?;
    let lists = [
        document.field("tools")?,
        document.field("functions")?,
        config.map(|config| config.field("tools")).transpose()?.flatten(),
    ];
    for tool in lists.into_iter().flatten().flat_map(Node::items) {
        if names(tool, TABLES, found)? {
            continue;
        }
        // One of the provider's own, told by its type, or by the key that it is under.
        match (tool.field("type")?, tool.field("server_label")?) {
            (_, Some(label)) => found.push(format!("mcp:{}", label.text().unwrap_or_default())),
            (Some(kind), None) => found.push(kind.text().unwrap_or_default().to_owned()),
            (None, None) => found.extend(tool.entries().iter().map(|(key, _)| key.to_string())),
        }
    }
    for server in document.either(&["mcp_servers", "mcpServers"])?.into_iter().flat_map(Node::items) {
        let name = server.field("name")?.and_then(Node::text).unwrap_or_default();
        found.push(format!("mcp:{name}"));
    }
    if document.field("web_search_options")?.is_some() {
        found.push("web_search".to_owned());
    }
    Ok(())
}

/// Tools whose calls, or answers, stand in the request.
fn called(document: &Node<'_>, found: &mut Vec<String>) -> Result<(), Unreadable> {
    for key in ["messages", "input", "contents"] {
        for message in document.field(key)?.into_iter().flat_map(Node::items) {
            call(message, found)?;
            for key in ["content", "parts"] {
                for part in message.field(key)?.into_iter().flat_map(Node::items) {
                    call(part, found)?;
                }
            }
        }
    }
    Ok(())
}

/// A message, an item or a part that may be a call, or hold some.
fn call(part: &Node<'_>, found: &mut Vec<String>) -> Result<(), Unreadable> {
    const TABLES: &[&str] =
        &["function_call", "functionCall", "functionResponse", "function_response", "toolUse", "tool_use"];
    let kind = part.field("type")?.and_then(Node::text).unwrap_or_default();
    let role = part.field("role")?.and_then(Node::text).unwrap_or_default();
    let is_call =
        kind.ends_with("tool_use") || kind.ends_with("_call") || matches!(role, "tool" | "function");
    if is_call && !names(part, &[], found)? && kind.ends_with("_call") {
        found.push(kind.trim_end_matches("_call").to_owned());
    }
    for key in TABLES {
        if let Some(table) = part.field(key)? {
            names(table, &[], found)?;
        }
    }
    for call in part.either(&["tool_calls", "toolCalls"])?.into_iter().flat_map(Node::items) {
        names(call, &["function", "custom"], found)?;
    }
    Ok(())
}

/// Takes the tools that a request to an MCP server calls (JSON-RPC 2.0, `tools/call`).
pub(super) fn take_rpc(read: &mut BodyFacts, document: &Node<'_>) -> Result<(), Unreadable> {
    for request in document.items() {
        let is_rpc = request.field("jsonrpc")?.is_some();
        let method = request.field("method")?.and_then(Node::text);
        if !is_rpc || method != Some("tools/call") {
            continue;
        }
        let name = request.field("params")?.map(|params| params.field("name")).transpose()?.flatten();
        let name = name.and_then(Node::text).ok_or(Unreadable("a call of a tool names none"))?;
        read.tools_called.push(name.to_owned());
    }
    Ok(())
}
