// Scratch: memory for the heads and trailers of an exchange, lent by the worker, so that a request allocates none of
// it. Thread rule: one worker.
#pragma once

#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "http/draft.h"

namespace plimsoll::proxy {

struct Drafts {
    http::Draft up;    ///< to the endpoint
    http::Draft down;  ///< to the client
    http::Draft up_trailers, down_trailers;
};

/// Where drafts come from; keeps some for reuse.
class DraftPool {
public:
    [[nodiscard]] std::unique_ptr<Drafts> take() {
        if (spare_.empty()) return std::make_unique<Drafts>();
        std::unique_ptr<Drafts> drafts = std::move(spare_.back());
        spare_.pop_back();
        return drafts;
    }
    void give_back(std::unique_ptr<Drafts> drafts) {
        if (spare_.size() < keeps_) spare_.push_back(std::move(drafts));
    }
    /// While memory is short none are kept.
    void keep_spare(bool keep) {
        keeps_ = keep ? most : 0;
        if (!keep) decltype(spare_)().swap(spare_);
    }

private:
    static constexpr std::size_t most = 256;  ///< about 5 KiB each
    std::vector<std::unique_ptr<Drafts>> spare_;
    std::size_t keeps_ = most;
};

/// One exchange's loan.
class Scratch {
public:
    explicit Scratch(DraftPool& pool) : pool_(pool), drafts_(pool.take()) {}
    ~Scratch() { pool_.give_back(std::move(drafts_)); }
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    [[nodiscard]] http::Draft& up() const { return drafts_->up; }
    [[nodiscard]] http::Draft& down() const { return drafts_->down; }
    [[nodiscard]] http::Draft& up_trailers() const { return drafts_->up_trailers; }
    [[nodiscard]] http::Draft& down_trailers() const { return drafts_->down_trailers; }

private:
    DraftPool& pool_;
    std::unique_ptr<Drafts> drafts_;
};

}  // namespace plimsoll::proxy
