// Http2Output: frames on their way to the socket, for all streams of one connection, written together. Small things are
// copied; large DATA stays where the sender has it, who is told when it has gone.
// Thread rule: its connection's thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "net/stream.h"

namespace plimsoll::http {

/// Whose memory a piece of output refers to.
class Http2Lender {
public:
    /// Bytes of ours that still wait in an output.
    [[nodiscard]] std::size_t lent() const { return lent_; }

protected:
    Http2Lender() = default;
    ~Http2Lender() = default;
    /// All of it has gone.
    virtual void returned() = 0;

private:
    friend class Http2Output;
    std::size_t lent_ = 0;
};

class Http2Output {
public:
    /// Below this, copying costs less than a piece of its own and a wait for the socket.
    static constexpr std::size_t lend_from = 4096;

    void append(std::string_view bytes);
    /// Copied if small, else referred to until lender.returned().
    void append(std::string_view bytes, Http2Lender& lender);
    /// Copies what still refers to the lender's memory, which goes away.
    void keep(Http2Lender& lender);
    /// Forgets everything; lenders have nothing lent any more, and are not told.
    void clear();

    /// One try at the socket, max_pieces pieces at most; lenders are told.
    net::Io write(net::Stream& stream);

    [[nodiscard]] std::size_t pending() const { return static_cast<std::size_t>(queued_ - written_); }
    [[nodiscard]] std::size_t held() const { return text_.capacity() + pieces_.capacity() * sizeof(Piece); }
    /// Bytes ever appended, and ever taken by the socket.
    [[nodiscard]] std::uint64_t queued() const { return queued_; }
    [[nodiscard]] std::uint64_t written() const { return written_; }
    /// Gives memory back while there is nothing to write.
    void shrink();

private:
    struct Piece {
        Http2Lender* lender = nullptr;
        const char* lent = nullptr;  ///< if lender
        std::size_t at = 0;          ///< in text_, else
        std::size_t size = 0;
    };
    [[nodiscard]] std::string_view view(const Piece& piece) const {
        return {piece.lender != nullptr ? piece.lent : text_.data() + piece.at, piece.size};
    }
    void drop(std::size_t bytes);
    void compact();

    std::string text_;  ///< grows until all of it has gone
    std::vector<Piece> pieces_;
    std::size_t first_ = 0;  ///< of pieces_ that is not written
    std::uint64_t queued_ = 0, written_ = 0;
};

}  // namespace plimsoll::http
