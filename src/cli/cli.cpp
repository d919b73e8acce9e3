#include "cli/cli.h"

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <memory>

#include "base/exit_code.h"
#include "cli/commands.h"

namespace plimsoll::cli {

namespace {

/// Everything the command line can say; one owner, so that CLI11's references stay valid until it has parsed.
struct Arguments {
    Common common;
    ServeOptions serve;
    PlanArgs plan;
    ApplyArgs apply;
    RollbackArgs rollback;
    PostmortemArgs postmortem;
    ImportArgs import;
    SimulateArgs simulate;
    ExplainArgs explain;
    std::vector<std::string> check_files;
    std::string print_file, abort_reason, thaw_digest, thaw_reason, change_id, incident_id, who, note;
    std::uint64_t seed = 0;
};

void add_common(CLI::App& command, Arguments& args) {
    command.add_option(
        "--server", args.common.server,
        "admin socket path or host:port (else $PLIMSOLL_SOCKET, .run/state/admin.sock, /run/plimsoll/admin.sock)");
    command.add_flag("--json", args.common.json, "machine-readable output, one JSON value (apply: one a line)");
}

/// A subcommand that leaves its answer in `exit`.
template <class F>
CLI::App* command(CLI::App& app, const std::string& name, const std::string& help, int& exit, F run) {
    CLI::App* made = app.add_subcommand(name, help);
    made->callback([&exit, run] { exit = run(); });
    return made;
}

void add_changing(CLI::App& app, Arguments& args, int& exit) {
    CLI::App* plan_command = command(app, "plan", "Show what a change would do to traffic, and the verdict", exit,
                                     [&args] { return plan(args.common, args.plan); });
    add_common(*plan_command, args);
    plan_command->add_option("FILE", args.plan.file, "the proposed configuration")->required();
    plan_command->add_flag("--detailed-exitcode", args.plan.detailed_exitcode,
                           "exit 2 when there is something to apply");
    plan_command->add_option("--base", args.plan.base, "plan against this file, without a server");
    plan_command->add_option("--recording", args.plan.recording, "with --base: recorded traffic to replay");
    plan_command->add_option(
        "--peak", args.plan.peak_rate,
        "with --recording: replay it at this many requests/s (an imported log may not know its peak)");

    CLI::App* apply_command = command(app, "apply", "Let a change in, guarded, and wait for what becomes of it", exit,
                                      [&args] { return apply(args.common, args.apply); });
    add_common(*apply_command, args);
    apply_command->add_option("FILE", args.apply.file, "the proposed configuration")->required();
    apply_command->add_option("-m,--reason", args.apply.reason, "why; kept with the change");
    apply_command->add_option("--author", args.apply.author, "who; defaults to $USER");
    apply_command->add_option("--base", args.apply.base_digest,
                              "refuse unless this digest is active (from `plan --json`)");
    apply_command->add_flag("--force", args.apply.force, "pass every gate before traffic; needs --reason");
    apply_command->add_flag("--at-once", args.apply.at_once, "one step instead of a ramp; needs --reason");

    CLI::App* rollback_command = command(app, "rollback", "Return to the last known good revision now, then verify",
                                         exit, [&args] { return rollback(args.common, args.rollback); });
    add_common(*rollback_command, args);
    rollback_command->add_option("REVISION", args.rollback.to, "e.g. r41; default: the last known good");
    rollback_command->add_option("-m,--reason", args.rollback.reason, "why");

    CLI::App* abort_command = command(app, "abort", "Undo the change that is in progress", exit,
                                      [&args] { return abort_rollout(args.common, args.abort_reason); });
    add_common(*abort_command, args);
    abort_command->add_option("-m,--reason", args.abort_reason, "why");

    CLI::App* thaw_command = command(app, "thaw", "Allow a configuration again that was rolled back", exit,
                                     [&args] { return thaw(args.common, args.thaw_digest, args.thaw_reason); });
    add_common(*thaw_command, args);
    thaw_command->add_option("DIGEST", args.thaw_digest, "as `plan` and `changes` print it; a prefix will do")
        ->required();
    thaw_command->add_option("-m,--reason", args.thaw_reason, "why it is safe now")->required();
}

void add_looking(CLI::App& app, Arguments& args, int& exit) {
    add_common(*command(app, "status", "One screen: what serves, how well, what is open", exit,
                        [&args] { return status(args.common); }),
               args);
    CLI::App* changes_command = command(app, "changes", "Changes with author, reason and what became of them", exit,
                                        [&args] { return changes(args.common, args.change_id); });
    add_common(*changes_command, args);
    changes_command->add_option("CHANGE", args.change_id, "one change in full, e.g. C7");

    CLI::App* incidents_command = app.add_subcommand("incidents", "List incidents, or show or acknowledge one");
    add_common(*incidents_command, args);
    incidents_command->require_subcommand(0, 1);
    CLI::App* show = incidents_command->add_subcommand("show", "one incident with its timeline and evidence");
    show->add_option("INCIDENT", args.incident_id, "e.g. INC-1")->required();
    add_common(*show, args);
    CLI::App* ack = incidents_command->add_subcommand("ack", "say that somebody is on it");
    ack->add_option("INCIDENT", args.incident_id, "e.g. INC-1")->required();
    ack->add_option("--who", args.who, "defaults to $USER");
    ack->add_option("-m,--note", args.note, "a line for the timeline");
    add_common(*ack, args);
    incidents_command->callback([&args, &exit, show, ack] {
        if (show->parsed()) {
            exit = incident(args.common, args.incident_id);
        } else if (ack->parsed()) {
            exit = acknowledge(args.common, args.incident_id, args.who, args.note);
        } else {
            exit = incidents(args.common);
        }
    });

    CLI::App* postmortem_command =
        command(app, "postmortem", "Print an incident's postmortem, or write it with its plots", exit,
                [&args] { return postmortem(args.common, args.postmortem); });
    add_common(*postmortem_command, args);
    postmortem_command->add_option("INCIDENT", args.postmortem.incident, "e.g. INC-1")->required();
    postmortem_command->add_option("-o,--out", args.postmortem.directory,
                                   "directory for the Markdown, plots and scenario");
}

void add_explain(CLI::App& app, Arguments& args, int& exit) {
    CLI::App* made = command(app, "explain", "Say where a request would go and why, without sending it", exit,
                             [&args] { return explain(args.common, args.explain); });
    add_common(*made, args);
    made->add_option("URL", args.explain.url, "e.g. https://shop.example.com/cart?x=1")->required();
    made->add_option("-X,--method", args.explain.method, "GET unless given");
    made->add_option("-H,--header", args.explain.headers, "'Name: value'; may be given several times")
        ->expected(1)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    made->add_option("-c,--config", args.explain.file, "explain this file instead of what the server serves");
    made->add_option("--listener", args.explain.listener, "as if it came by this listener");
    made->add_option("--client", args.explain.client, "as if it came from this address");
}

void add_files(CLI::App& app, Arguments& args, int& exit) {
    CLI::App* check_command =
        command(app, "check", "Read configuration files and report every finding; needs no server", exit,
                [&args] { return check(args.common, args.check_files); });
    check_command->add_option("FILE", args.check_files, "configuration files")->required();
    check_command->add_flag("--json", args.common.json, "findings as JSON");
    command(app, "print", "Print a configuration with every default filled in", exit,
            [&args] { return print_config(args.print_file); })
        ->add_option("FILE", args.print_file)
        ->required();
    command(app, "schema", "Print the JSON Schema of the configuration format", exit, [] { return print_schema(); });

    CLI::App* simulate_command = command(app, "simulate", "Play scenario files in virtual time", exit, [&args] {
        if (args.seed != 0) args.simulate.seed = args.seed;
        return simulate(args.common, args.simulate);
    });
    simulate_command->add_option("FILE", args.simulate.files, "scenario files (docs/formats/scenario.md)")->required();
    simulate_command->add_option("--seed", args.seed, "instead of the scenario's own");
    simulate_command->add_flag("--json", args.common.json, "result as JSON");

    CLI::App* record = app.add_subcommand("record", "Work with recordings of traffic");
    record->require_subcommand(1);
    CLI::App* import = command(*record, "import", "Turn an access log into a recording", exit,
                               [&args] { return import_recording(args.common, args.import); });
    import->add_option("FILE", args.import.file, "the access log")->required();
    import->add_option("--format", args.import.format, "combined (Apache and NGINX)")->default_val("combined");
    import->add_option("-o,--out", args.import.out, "the recording; default: FILE.recording");
    import->add_option("--key", args.import.key, "key of the hash that stands for client addresses");
    import->add_flag("--json", args.common.json, "summary as JSON");
}

}  // namespace

int run(int argc, const char* const* argv, const std::function<int(const ServeOptions&)>& serve) {
    CLI::App app{"Plimsoll: a load balancer on which a bad configuration change cannot cause an outage.", "plimsoll"};
    app.set_version_flag("--version", "plimsoll " PLIMSOLL_VERSION);
    app.require_subcommand(1);
    app.footer(
        "Exit codes: 0 done, 1 error, 2 plan has changes, 3 rejected before traffic, 4 applied then rolled back,\n"
        "5 rollback failed or unverified, 6 stale, frozen or conflict, 64 usage, 69 no server.");

    Arguments args;
    int exit = exit_code::done;
    CLI::App* serve_command =
        command(app, "serve", "Serve traffic", exit, [&args, &serve] { return serve(args.serve); });
    serve_command->add_option(
        "-c,--config", args.serve.config,
        "configuration for the first start; afterwards the journal's active revision is served, and `plimsoll "
        "apply` lets a change in");
    serve_command->add_option("--state", args.serve.state, "directory for journal, recording and admin socket")
        ->default_val("/var/lib/plimsoll");
    serve_command->add_flag("-q,--quiet", args.serve.quiet, "log warnings and errors only");
    serve_command->add_option("--user", args.serve.user,
                              "serve as this user, when started as root: once all listeners are open");
    serve_command
        ->add_option("--drain", args.serve.drain_s, "seconds that requests in flight have when the server is stopped")
        ->check(CLI::Range(0.0, 86'400.0))
        ->capture_default_str();
    serve_command
        ->add_option("--handover", args.serve.handover_s,
                     "seconds that connections have when another process has taken over (SIGUSR2)")
        ->check(CLI::Range(0.0, 86'400.0))
        ->capture_default_str();
    add_changing(app, args, exit);
    add_looking(app, args, exit);
    add_explain(app, args, exit);
    add_files(app, args, exit);

    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        const int code = app.exit(error);
        return code == 0 ? exit_code::done : exit_code::usage;
    }
    return exit;
}

}  // namespace plimsoll::cli
