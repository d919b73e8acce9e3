// Exit codes of the command line: scripts and pipelines branch on them, so they never change meaning.
#pragma once

namespace plimsoll::exit_code {

inline constexpr int done = 0;         ///< done, or nothing to do
inline constexpr int error = 1;        ///< something went wrong that has no code of its own
inline constexpr int has_changes = 2;  ///< `plan --detailed-exitcode`: accepted, and there is something to apply
inline constexpr int rejected = 3;     ///< refused before it took traffic
inline constexpr int rolled_back = 4;  ///< applied, then undone
inline constexpr int unverified = 5;   ///< undoing failed, or recovery could not be proven: a human is needed
inline constexpr int conflict = 6;     ///< stale base, frozen, or another change is in progress
inline constexpr int usage = 64;
inline constexpr int unreachable = 69;  ///< no server answers

}  // namespace plimsoll::exit_code
