#include "http/http2_output.h"

#include <algorithm>
#include <array>
#include <span>

namespace plimsoll::http {
namespace {

/// What a connection without requests keeps.
constexpr std::size_t idle_bytes = 1024;
constexpr std::size_t compact_pieces = 256;
constexpr std::size_t compact_bytes = 128 * 1024;

}  // namespace

void Http2Output::append(std::string_view bytes) {
    if (bytes.empty()) return;
    const std::size_t at = text_.size();
    text_.append(bytes);
    queued_ += bytes.size();
    if (first_ < pieces_.size()) {
        Piece& last = pieces_.back();
        if (last.lender == nullptr && last.at + last.size == at) {
            last.size += bytes.size();
            return;
        }
    }
    pieces_.push_back({.at = at, .size = bytes.size()});
}

void Http2Output::append(std::string_view bytes, Http2Lender& lender) {
    if (bytes.size() < lend_from) return append(bytes);
    pieces_.push_back({.lender = &lender, .lent = bytes.data(), .size = bytes.size()});
    lender.lent_ += bytes.size();
    queued_ += bytes.size();
}

void Http2Output::keep(Http2Lender& lender) {
    for (std::size_t i = first_; i < pieces_.size() && lender.lent_ > 0; ++i) {
        Piece& piece = pieces_[i];
        if (piece.lender != &lender) continue;
        lender.lent_ -= piece.size;
        const std::size_t at = text_.size();
        text_.append(piece.lent, piece.size);
        piece = {.at = at, .size = piece.size};
    }
}

void Http2Output::clear() {
    for (std::size_t i = first_; i < pieces_.size(); ++i) {
        if (pieces_[i].lender != nullptr) pieces_[i].lender->lent_ = 0;
    }
    pieces_.clear();
    text_.clear();
    first_ = 0;
    queued_ = written_;
}

void Http2Output::drop(std::size_t bytes) {
    written_ += bytes;
    while (bytes > 0) {
        Piece& piece = pieces_[first_];
        const std::size_t part = std::min(bytes, piece.size);
        bytes -= part;
        piece.size -= part;
        piece.at += part;
        Http2Lender* lender = piece.lender;
        if (lender != nullptr) {
            piece.lent += part;
            lender->lent_ -= part;
        }
        if (piece.size == 0) ++first_;
        if (lender != nullptr && lender->lent_ == 0) lender->returned();
    }
    if (first_ == pieces_.size()) {
        pieces_.clear();
        text_.clear();
        first_ = 0;
    } else if (first_ >= compact_pieces || text_.size() >= compact_bytes) {
        compact();
    }
}

/// A connection that is never quite idle would grow without end.
void Http2Output::compact() {
    pieces_.erase(pieces_.begin(), pieces_.begin() + static_cast<std::ptrdiff_t>(first_));
    first_ = 0;
    std::size_t dead = text_.size();
    for (const Piece& piece : pieces_) {
        if (piece.lender == nullptr) dead = std::min(dead, piece.at);
    }
    if (dead < text_.size() / 2) return;  // each byte is moved once or twice, not more
    text_.erase(0, dead);
    for (Piece& piece : pieces_) {
        if (piece.lender == nullptr) piece.at -= dead;
    }
}

net::Io Http2Output::write(net::Stream& stream) {
    std::array<std::string_view, net::max_pieces> views;
    std::size_t count = 0;
    for (std::size_t i = first_; i < pieces_.size() && count < views.size(); ++i) views[count++] = view(pieces_[i]);
    const net::Io io = stream.try_write(std::span(views).first(count));
    if (io.state == net::Io::State::moved) drop(io.bytes);
    return io;
}

void Http2Output::shrink() {
    if (pending() != 0) return;
    if (text_.capacity() > idle_bytes) text_ = {};
    if (pieces_.capacity() > 16) pieces_ = {};
}

}  // namespace plimsoll::http
