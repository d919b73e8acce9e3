#include "admin/admin.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <coroutine>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "admin/reserve.h"
#include "admin/views.h"
#include "base/exit_code.h"

namespace plimsoll::admin {

namespace {

using Json = nlohmann::json;
using control::Control;

/// How long somebody may have to wait at the door when clients hold every descriptor.
constexpr Duration door_check = std::chrono::milliseconds(100);
constexpr std::size_t max_request_body = 32u << 20;  ///< a config of 16 MiB, escaped as JSON

/// Never throws: what is not UTF-8 (a file's name, an operator's words) is replaced.
std::string dump(const Json& value) { return value.dump(-1, ' ', false, Json::error_handler_t::replace); }

http::Response json(std::string body) { return http::Response::json(200, std::move(body)); }

http::Response failure(const Error& error) {
    const std::uint16_t status = error.code == Code::not_found  ? 404
                                 : error.code == Code::conflict ? 409
                                 : error.code == Code::invalid  ? 400
                                 : error.code == Code::limit    ? 503
                                                                : 500;
    const int exit = error.code == Code::conflict ? exit_code::conflict : exit_code::error;
    return http::Response::json(status, dump({{"error", error.detail}, {"exit", exit}}));
}

http::Response not_found(std::string what) {
    return failure({Code::not_found, Side::client, Retry::no, std::move(what)});
}

/// Writes a change's progress, one JSON object a line, until the change has ended. The change goes on when the reader
/// has gone.
async::Task<Result<void>> stream_feed(std::shared_ptr<control::Feed> feed, http::BodyWriter& writer) {
    for (std::size_t i = 0; co_await feed->has(i); ++i) co_await async::ok(writer.write(feed->lines()[i] + "\n"));
    co_return Result<void>{};
}

http::Response streamed(Result<std::shared_ptr<control::Feed>> feed) {
    if (!feed) return failure(feed.error());
    http::Response response = http::Response::typed(200, "application/x-ndjson", "");
    response.stream = [feed = *feed](http::BodyWriter& writer) { return stream_feed(feed, writer); };
    return response;
}

/// Waits for an answer that comes by callback, on the same thread.
class PlanAwait {
public:
    PlanAwait(Control& control, std::string text, std::string file)
        : control_(control), text_(std::move(text)), file_(std::move(file)) {}
    PlanAwait(const PlanAwait&) = delete;
    ~PlanAwait() { *alive_ = false; }
    [[nodiscard]] bool await_ready() const { return false; }
    bool await_suspend(std::coroutine_handle<> handle) {
        const auto taken = control_.changes().plan(std::move(text_), std::move(file_),
                                                   [this, handle, alive = alive_](control::PlanAnswer answer) {
                                                       if (!*alive) return;
                                                       answer_ = std::move(answer);
                                                       handle.resume();
                                                   });
        if (!taken) answer_ = std::unexpected(taken.error());
        return taken.has_value();
    }
    [[nodiscard]] Result<control::PlanAnswer> await_resume() { return std::move(*answer_); }

private:
    Control& control_;
    std::string text_, file_;
    std::optional<Result<control::PlanAnswer>> answer_;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

/// A member of a JSON body, or the fallback when it is missing or of another type.
template <class T>
T member(const Json& body, const char* name, T fallback) {
    const auto found = body.find(name);
    if (found == body.end()) return fallback;
    if constexpr (std::is_same_v<T, std::string>) {
        return found->is_string() ? found->template get<T>() : fallback;
    } else if constexpr (std::is_same_v<T, bool>) {
        return found->is_boolean() ? found->template get<T>() : fallback;
    } else {
        return found->is_number_unsigned() ? found->template get<T>() : fallback;
    }
}

async::Task<http::Response> plan(Control& control, Json body) {
    const auto answer = co_await PlanAwait(control, member<std::string>(body, "text", ""),
                                           member<std::string>(body, "file", "proposed"));
    if (!answer) co_return failure(answer.error());
    co_return json(plan_json(*answer));
}

http::Response apply(Control& control, const Json& body) {
    control::Submission submission;
    submission.text = member<std::string>(body, "text", "");
    submission.file = member<std::string>(body, "file", "proposed");
    submission.author = member<std::string>(body, "author", "unknown");
    submission.reason = member<std::string>(body, "reason", "");
    submission.base_digest = member<std::string>(body, "base", "");
    submission.force = member(body, "force", false);
    submission.at_once = member(body, "at_once", false);
    return streamed(control.changes().submit(std::move(submission)));
}

http::Response said(Result<std::string> text) {
    if (!text) return failure(text.error());
    return json(dump({{"text", *text}}));
}

http::Response post(Control& control, std::string_view path, const Json& body) {
    const std::string who = member<std::string>(body, "author", "unknown");
    const std::string reason = member<std::string>(body, "reason", "");
    if (path == "/v1/apply") return apply(control, body);
    if (path == "/v1/rollback")
        return streamed(control.changes().rollback(RevisionNumber{member(body, "to", std::uint64_t{0})}, who, reason));
    if (path == "/v1/abort") {
        if (const auto aborted = control.changes().abort(who, reason); !aborted) return failure(aborted.error());
        return said(std::string("the change is being undone"));
    }
    if (path == "/v1/thaw") return said(control.thaw(member<std::string>(body, "digest", ""), who, reason));
    constexpr std::string_view incidents = "/v1/incidents/", ack = "/ack";
    if (path.starts_with(incidents) && path.ends_with(ack) && path.size() > incidents.size() + ack.size()) {
        const std::string id(path.substr(incidents.size(), path.size() - incidents.size() - ack.size()));
        const auto done =
            control.acknowledge(id, member<std::string>(body, "who", "unknown"), member<std::string>(body, "note", ""));
        if (!done) return failure(done.error());
        return said(id + " acknowledged");
    }
    return not_found("no such call");
}

/// A configuration for who came by TCP, which everybody with an account on the machine can: as it was written if it has
/// no secrets, else printed anew without. Nothing if this version cannot tell them from the rest.
std::optional<std::string> without_secrets(const std::string& text, const std::string& file) {
    const config::Parsed parsed = config::parse(text, file);
    if (!parsed.document) return std::nullopt;
    const config::Config shown = config::redacted(parsed.document->config);
    if (shown == parsed.document->config) return text;
    return "# Secrets are not shown here; the Unix socket gives the file as it was written.\n" + config::print(shown);
}

/// As it was written to who came by the Unix socket: its file's mode is the secret's.
http::Response revision_text(const control::Revision& revision, bool with_secrets) {
    if (with_secrets) return http::Response::typed(200, "application/yaml", revision.text);
    auto shown = without_secrets(revision.text, revision.file);
    if (!shown)
        return failure(
            {Code::conflict, Side::us, Retry::no,
             "this version cannot read the revision, so its secrets cannot be told from the rest; ask on the "
             "Unix socket"});
    return http::Response::typed(200, "application/yaml", std::move(*shown));
}

/// The same for a postmortem's files, of which some are configurations.
std::map<std::string, std::string> without_secrets(std::map<std::string, std::string> files) {
    for (auto& [name, content] : files) {
        if (!name.ends_with(".yaml")) continue;
        content = without_secrets(content, name)
                      .value_or(
                          "# This version cannot read it, so its secrets cannot be told from the rest: ask on the "
                          "Unix socket.\n");
    }
    return files;
}

http::Response get(const Control& control, const http::Request& request) {
    const std::string_view path = request.path;
    if (path == "/metrics") {
        const MetricsFormat format = metrics_format(request.headers.get("accept").value_or(""));
        return http::Response::typed(200, content_type(format), metrics(control, format));
    }
    if (path == "/healthz") return http::Response::text(200, "ok\n");
    if (path == "/v1/status") return json(status_json(control));
    if (path == "/v1/changes") return json(changes_json(control));
    if (path == "/v1/incidents") return json(incidents_json(control));
    if (path == "/v1/members") return json(members_json(control));
    constexpr std::string_view changes = "/v1/changes/", incidents = "/v1/incidents/", postmortem = "/postmortem",
                               revisions = "/v1/revisions/";
    if (path.starts_with(changes)) {
        std::string body = change_json(control, std::string(path.substr(changes.size())));
        return body.empty() ? not_found("there is no such change; `plimsoll changes` lists them")
                            : json(std::move(body));
    }
    if (path.starts_with(revisions)) {
        const std::string digits(
            path.substr(revisions.size() + (path.substr(revisions.size()).starts_with('r') ? 1 : 0)));
        const bool number =
            !digits.empty() && digits.size() < 18 && digits.find_first_not_of("0123456789") == std::string::npos;
        const control::Revision* revision =
            number ? control.history().revision(RevisionNumber{std::stoull(digits)}) : nullptr;
        if (revision == nullptr) return not_found("there is no such revision");
        return revision_text(*revision, request.unix_socket);
    }
    if (path.starts_with(incidents) && path.ends_with(postmortem) &&
        path.size() > incidents.size() + postmortem.size()) {
        const auto files = control.care().postmortem(
            std::string(path.substr(incidents.size(), path.size() - incidents.size() - postmortem.size())));
        if (!files) return failure(files.error());
        return json(postmortem_json(request.unix_socket ? *files : without_secrets(*files)));
    }
    if (path.starts_with(incidents)) {
        std::string body = incident_json(control, std::string(path.substr(incidents.size())));
        return body.empty() ? not_found("there is no such incident; `plimsoll incidents` lists them")
                            : json(std::move(body));
    }
    return not_found("no such page; try /metrics, /v1/status, /v1/changes, /v1/incidents, /v1/members");
}

async::Task<http::Response> handle(Control& control, const Door& door, http::Request request) {
    if (auto refused = door.refuses(request)) co_return *std::move(refused);
    if (request.method == "GET" || request.method == "HEAD") co_return get(control, request);
    Json body = Json::parse(request.body, nullptr, false);
    if (!body.is_object()) co_return failure({Code::invalid, Side::client, Retry::no, "the body is not a JSON object"});
    if (request.path == "/v1/plan") co_return co_await plan(control, std::move(body));
    co_return post(control, request.path, body);
}

}  // namespace

Admin::Admin(Control& control) : control_(control) {
    http::ServerOptions options;
    options.body_bytes = max_request_body;
    server_ = std::make_unique<http::Server>(
        control.network(),
        [&control, &door = door_](http::Request request) { return handle(control, door, std::move(request)); },
        options);
}

Admin::~Admin() = default;

Result<void> Admin::listen(const config::Address& address) {
    const auto where = net::Address::ip(address.host, address.port);
    if (!where) return std::unexpected(where.error());
    std::array<char, 256> machine{};
    const bool named = ::gethostname(machine.data(), machine.size() - 1) == 0;
    door_.add(address.host, named ? std::string_view(machine.data()) : std::string_view{});
    return listen(*where);
}

Result<void> Admin::listen(const std::string& socket_path) {
    const auto where = net::Address::unix_socket(socket_path);
    if (!where) return std::unexpected(where.error());
    return listen(*where);
}

Result<void> Admin::listen(const net::Address& where) {
    auto listener = control_.network().listen(where, {});
    if (!listener) return std::unexpected(listener.error());
    scope_.spawn(keep_open(**listener));
    server_->start(std::move(*listener));
    return {};
}

/// When no descriptor is left that anybody may have, the admin listener takes from those that are kept back.
async::Task<void> Admin::keep_open(net::Listener& listener) {
    std::uint64_t seen = 0;
    while (true) {
        co_await control_.network().sleep_until(control_.network().now() + door_check);
        if (const std::uint64_t pauses = listener.accept_pauses(); std::exchange(seen, pauses) == pauses) continue;
        const Reserve reserve;
        while (std::unique_ptr<net::Stream> stream = listener.try_accept()) server_->serve(std::move(stream));
    }
}

async::Task<void> Admin::stop(async::Deadline deadline) {
    scope_.cancel();
    return server_->stop(deadline);
}

}  // namespace plimsoll::admin
