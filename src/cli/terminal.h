// Small things that every command needs: files, standard output and error, and what an error means to a shell.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "base/time.h"
#include "cli/remote.h"

namespace plimsoll::cli {

[[nodiscard]] Result<std::string> read_file(const std::string& path);
/// Writes through a temporary name, so that a reader never sees half a file.
[[nodiscard]] Result<void> write_file(const std::string& path, std::string_view content);

void out(std::string_view text);      ///< standard output, with a newline
void message(std::string_view text);  ///< standard error, with "plimsoll: " before and a newline after

/// Prints the error and gives the exit code for it.
int fail_with(const Error& error);
/// Prints what a server answered with an error status (JSON {"error", "code"}) and gives the exit code for it.
int fail_with(const Reply& reply);

/// $USER, or the numeric user id: the default author of a change.
[[nodiscard]] std::string user();
[[nodiscard]] Timestamp wall_clock();

}  // namespace plimsoll::cli
