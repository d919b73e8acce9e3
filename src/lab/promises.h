// The promises of a run, each kept or not, and the figures it gave. A value; one thread.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

namespace plimsoll::lab {

struct Promise {
    std::string scene;  ///< "a" to "e"
    std::string what;
    bool kept = false;
    std::string found;  ///< what was seen, in either case
};

class Promises {
public:
    /// Notes and prints it; gives `kept`.
    bool check(std::string scene, std::string what, bool kept, std::string found);
    void figure(std::string name, double value) { figures_[std::move(name)].push_back(value); }

    [[nodiscard]] bool all_kept() const;
    [[nodiscard]] std::size_t broken() const;
    [[nodiscard]] const std::vector<Promise>& all() const { return promises_; }
    [[nodiscard]] const std::vector<double>& figures(const std::string& name) const;
    [[nodiscard]] std::string to_json() const;

private:
    std::vector<Promise> promises_;
    std::map<std::string, std::vector<double>> figures_;
};

}  // namespace plimsoll::lab
