// The file format for machines and for people, both generated from definition.h.
#pragma once

#include <string>

namespace plimsoll::config {

/// The tables of docs/formats/config.md, in Markdown: one per section of the file.
[[nodiscard]] std::string reference_tables();

}  // namespace plimsoll::config
