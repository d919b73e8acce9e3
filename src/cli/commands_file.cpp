// check, print, schema, record import: work on files, without a server.
#include <fmt/format.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <random>

#include "base/exit_code.h"
#include "check/check.h"
#include "cli/commands.h"
#include "cli/terminal.h"
#include "config/config.h"
#include "control/certificate_files.h"
#include "recording/recording.h"

namespace plimsoll::cli {

namespace {

using Json = nlohmann::json;

Json as_json(const Finding& finding) {
    return {{"severity", name(finding.severity)}, {"code", finding.code},       {"path", finding.path},
            {"file", finding.where.file},         {"line", finding.where.line}, {"column", finding.where.column},
            {"message", finding.message},         {"remedy", finding.remedy}};
}

}  // namespace

int check(const Common& common, const std::vector<std::string>& files) {
    Findings findings;
    for (const std::string& file : files) {
        const auto text = read_file(file);
        if (!text) return fail_with(text.error());
        config::Parsed parsed = config::parse(*text, file);
        findings.insert(findings.end(), parsed.findings.begin(), parsed.findings.end());
        if (!parsed.document) continue;
        check::LiveState known;
        known.certificates = control::CertificateFiles().facts(parsed.document->config);
        known.now = wall_clock();
        const Findings semantic = check::check_config(*parsed.document, known);
        findings.insert(findings.end(), semantic.begin(), semantic.end());
    }
    const bool rejected = has_errors(findings);
    if (common.json) {
        Json list = Json::array();
        for (const Finding& finding : findings) list.push_back(as_json(finding));
        out(Json{{"findings", std::move(list)}, {"ok", !rejected}}.dump(-1, ' ', false,
                                                                        Json::error_handler_t::replace));
    } else {
        for (const Finding& finding : findings) out(plimsoll::text(finding));
        if (findings.empty()) out(fmt::format("{}: no findings", fmt::join(files, ", ")));
    }
    return rejected ? exit_code::rejected : exit_code::done;
}

int print_config(const std::string& file) {
    const auto text = read_file(file);
    if (!text) return fail_with(text.error());
    const config::Parsed parsed = config::parse(*text, file);
    for (const Finding& finding : parsed.findings) message(plimsoll::text(finding));
    if (!parsed.document) return exit_code::rejected;
    out(config::print(config::redacted(parsed.document->config)));
    return exit_code::done;
}

int print_schema() {
    out(config::json_schema());
    return exit_code::done;
}

int import_recording(const Common& common, const ImportArgs& args) {
    if (args.format != "combined") {
        message(fmt::format("unknown format '{}'; known: combined (Apache and NGINX)", args.format));
        return exit_code::usage;
    }
    const auto text = read_file(args.file);
    if (!text) return fail_with(text.error());
    std::uint64_t key = args.key;
    if (key == 0) {
        std::random_device device;
        key = (std::uint64_t{device()} << 32) | device();
    }
    const recording::Imported imported = recording::import_combined(*text, args.file, key);
    for (const Finding& finding : imported.findings) message(plimsoll::text(finding));
    if (imported.recording.records.empty()) {
        message(fmt::format("{}: none of {} lines is a request in combined format", args.file, imported.lines));
        return exit_code::error;
    }
    const std::string path = args.out.empty() ? args.file + ".recording" : args.out;
    const std::string bytes = recording::write(imported.recording);
    if (const auto written = write_file(path, bytes); !written) return fail_with(written.error());
    const double peak = recording::peak_rate(imported.recording);
    if (common.json) {
        out(Json{{"file", path},
                 {"lines", imported.lines},
                 {"bad_lines", imported.bad_lines},
                 {"requests", imported.recording.records.size()},
                 {"span_seconds", seconds(imported.recording.span())},
                 {"peak_rate", peak},
                 {"bytes", bytes.size()}}
                .dump());
    } else {
        out(fmt::format(
            "{}: {} requests from {} lines ({} could not be read), over {}, peak {:.1f} requests/s in 10 s; "
            "{} bytes",
            path, imported.recording.records.size(), imported.lines, imported.bad_lines,
            plimsoll::text(imported.recording.span()), peak, bytes.size()));
    }
    return exit_code::done;
}

}  // namespace plimsoll::cli
