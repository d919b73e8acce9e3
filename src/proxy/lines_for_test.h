// Header lines for tests of what reads them. Owns the bytes.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include "http/fields.h"

namespace plimsoll::proxy::test {

class Lines {
public:
    Lines(std::initializer_list<std::string_view> lines) {
        for (const std::string_view line : lines) {
            refused_ |= fields_.add(line, bytes_.size(), {}).status != 0;
            bytes_ += line;
        }
        fields_.rebase(bytes_.data());
    }
    Lines(const Lines&) = delete;
    Lines& operator=(const Lines&) = delete;
    [[nodiscard]] const http::Fields& fields() const { return fields_; }
    [[nodiscard]] bool refused() const { return refused_; }

private:
    std::string bytes_;
    http::Fields fields_;
    bool refused_ = false;
};

}  // namespace plimsoll::proxy::test
