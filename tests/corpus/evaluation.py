"""Answers to the exercises of lesson 07, wrong and right; see test_checks.py."""

from . import Corpus

CORPUS: Corpus = {
    "transport_cost": (
        "a, b",
        """
        gaps = a.sort().values - b.sort().values
        return gaps.square().mean()""",
        [
            ("a.sort().values - b.sort().values", "a - b", "sort both sets"),
            ("b.sort().values", "b", "sort both sets"),
            ("a.sort().values", "a", "sort both sets"),
            ("b.sort().values", "b.sort(descending=True).values", "in the same direction"),
            ("gaps.square()", "gaps.abs()", "square each gap"),
            ("gaps.square().mean()", "gaps.mean() ** 2", "square each gap"),
            (".mean()", ".sum()", "a.shape[0] times too large"),
            (".mean()", ".mean().sqrt()", "the sqrt of the right"),
            (".mean()", "", "a number is wanted"),
            ("a.sort().values", "a.sort()", "raised TypeError"),
            (
                "gaps = a.sort().values - b.sort().values",
                "gaps = torch.cdist(a[:, None], b[:, None])",
                "pair each point once",
            ),
            (
                "gaps = a.sort().values - b.sort().values",
                "gaps = torch.cdist(a[:, None], b[:, None]).min(1).values",
                "pair each point once",
            ),
            (
                "a.sort().values - b.sort().values",
                "a.sort().indices - b.sort().indices",
                "raised RuntimeError",
            ),
            ("return gaps", "cost = gaps", "is a `return` missing"),
        ],
        [
            ("gaps.square().mean()", "(gaps**2).mean().item()"),
            (".square().mean()", ".pow(2).sum() / len(a)"),
            ("gaps.square().mean()", "F.mse_loss(torch.sort(b)[0], torch.sort(a)[0])"),
            ("b.sort().values", "torch.tensor(sorted(b.tolist()))"),
        ],
    ),
    "mean_and_covariance": (
        "points",
        """
        mean = points.mean(dim=0)
        centred = points - mean
        covariance = centred.T @ centred / (len(points) - 1)
        return mean, covariance""",
        [
            ("(len(points) - 1)", "len(points)", "covariance: divide by N - 1"),
            (" / (len(points) - 1)", "", "covariance: divide by N - 1"),
            ("points - mean", "points", "covariance: subtract the mean"),
            ("dim=0", "dim=1", "raised RuntimeError"),
            ("points.mean(dim=0)", "points.mean()", "mean: average over the points"),
            ("centred.T @ centred", "centred @ centred.T", "D x D covariances"),
            (
                "centred.T @ centred / (len(points) - 1)",
                "points.var(dim=0)",
                "D x D covariances",
            ),
            ("centred.T @ centred", "centred.T * centred", "raised RuntimeError"),
            ("return mean, covariance", "return covariance, mean", "exchanged mean and cov"),
            ("return mean, covariance", "return covariance", "2 results are wanted"),
            ("return mean, covariance", "return mean", "2 results are wanted"),
            ("return mean, covariance", "return mean, covariance.sqrt()", "covariance: "),
            ("covariance = centred", "centred -= 1\n        covariance = centred", "?"),
            ("return mean, covariance", "return points.sum(0), covariance", "mean: "),
            ("return mean, covariance", "return mean, points.T.corrcoef()", "covariance: "),
        ],
        [
            ("centred.T @ centred / (len(points) - 1)", "points.T.cov()"),
            ("centred.T @ centred / (len(points) - 1)", "torch.cov(centred.t())"),
            ("points - mean", "points - points.mean(0, keepdim=True)"),
            (
                "centred.T @ centred",
                "torch.einsum('ni, nj -> ij', centred.double(), centred.double())",
            ),
        ],
    ),
    "frechet_of_gaussians": (
        "mean_a, cov_a, mean_b, cov_b",
        """
        eigenvalues = torch.linalg.eigvals(cov_a @ cov_b).real.clamp(min=0)
        root = eigenvalues.sqrt().sum()
        means = (mean_a - mean_b).square().sum()
        return means + cov_a.trace() + cov_b.trace() - 2 * root""",
        [
            ("eigenvalues.sqrt().sum()", "eigenvalues.sum()", "take the root of each eigen"),
            ("eigenvalues.sqrt().sum()", "eigenvalues.sum().sqrt()", "take the root of each eig"),
            (
                "eigenvalues.sqrt().sum()",
                "(cov_a @ cov_b).diag().sqrt().sum()",
                "not that of the entries",
            ),
            (
                "eigenvalues.sqrt().sum()",
                "(cov_a.diag() * cov_b.diag()).sqrt().sum()",
                "not that of the entries",
            ),
            (
                "torch.linalg.eigvals(cov_a @ cov_b).real",
                "torch.linalg.eigvalsh(cov_a @ cov_b)",
                "eigvalsh is for symmetric",
            ),
            ("- 2 * root", "- root", "subtract the root twice"),
            ("- 2 * root", "+ 2 * root", "subtract the root twice"),
            ("- 2 * root", "", "subtract the root twice"),
            ("means + cov_a", "cov_a", "both means and covariances count"),
            (
                "means + cov_a.trace() + cov_b.trace() - 2 * root",
                "means",
                "both means and covariances count",
            ),
            (".square().sum()", ".norm()", "square the gap of the means"),
            ("return means", "return means.sqrt()", "square the gap of the means"),
            ("cov_a.trace() + cov_b.trace()", "cov_a + cov_b", "a number is wanted"),
            ("eigvals(cov_a @ cov_b)", "eigvals(cov_a * cov_b)", "?"),
        ],
        [
            (
                "root = eigenvalues.sqrt().sum()",
                "values, vectors = torch.linalg.eigh(cov_a)\n"
                "        half = vectors @ values.sqrt().diag() @ vectors.T\n"
                "        root = torch.linalg.eigvalsh(half @ cov_b @ half).sqrt().sum()",
            ),
            (
                "return means + cov_a.trace() + cov_b.trace()",
                "return means + (cov_a + cov_b).trace()",
            ),
            (".square().sum()", ".norm() ** 2"),
            ("- 2 * root", "- 2 * root.item()"),
        ],
    ),
    "copy_ratio": (
        "made, training, unseen",
        """
        gaps = torch.cdist(made, training).min(dim=1).values
        usual = torch.cdist(unseen, training).min(dim=1).values
        return gaps.median() / usual.median()""",
        [
            ("gaps.median() / usual.median()", "gaps.mean() / usual.mean()", "not the mean"),
            (" / usual.median()", "", "divide by the gap of unseen"),
            ("gaps.median() / usual.median()", "gaps.mean()", "divide by the gap of unseen"),
            (
                "gaps.median() / usual.median()",
                "usual.median() / gaps.median()",
                "the reciprocal of the right",
            ),
            ("cdist(made, training)", "cdist(made, unseen)", "measure to training points"),
            ("dim=1", "dim=0", "begin with each generated"),
            ("gaps.median() / usual.median()", "(gaps / usual).median()", "the two medians"),
            ("gaps.median() / usual.median()", "(gaps / usual).mean()", "the two medians"),
            (".min(dim=1).values", "", "take the nearest"),
            (".min(dim=1).values", ".max(dim=1).values", "take the nearest"),
            (".min(dim=1).values", ".min(dim=1)", "raised AttributeError"),
            ("gaps.median() / usual.median()", "gaps / usual", "a number is wanted"),
            (
                "gaps.median() / usual",
                "gaps.median() ** 2 / usual.median() / usual",
                "the square of",
            ),
            ("gaps.median() / usual.median()", "gaps.median() - usual.median()", "?"),
            ("return gaps", "ratio = gaps", "is a `return` missing"),
        ],
        [
            (".median()", ".sort().values[(len(made) - 1) // 2]"),
            (".min(dim=1).values", ".amin(1)"),
            ("gaps.median() / usual.median()", "float(gaps.median()) / float(usual.median())"),
            (
                "torch.cdist(made, training)",
                "(made[:, None] - training).square().sum(-1).sqrt()",
            ),
        ],
    ),
    "squared_mmd": (
        "a, b",
        """
        def kernel(u, v):
            return (u @ v.T / u.shape[1] + 1) ** 3

        def within(k):
            n = len(k)
            return (k.sum() - k.trace()) / (n * (n - 1))

        between = kernel(a, b).mean()
        return within(kernel(a, a)) + within(kernel(b, b)) - 2 * between""",
        [
            ("(k.sum() - k.trace()) / (n * (n - 1))", "k.mean()", "leave out the diagonal"),
            ("k.sum() - k.trace()", "k.sum()", "leave out the diagonal"),
            ("n * (n - 1)", "n * n", "N (N - 1) terms"),
            ("- 2 * between", "- between", "subtract the mean between"),
            ("- 2 * between", "", "subtract the mean between"),
            ("- 2 * between", "+ 2 * between", "subtract the mean between"),
            (" / u.shape[1]", "", "divide the product by D"),
            (" / u.shape[1]", " / u.shape[1] ** 0.5", "divide the product by D"),
            (" + 1) ** 3", ") ** 3", "add 1, then"),
            ("** 3", "** 2", "the third power"),
            (" ** 3", "", "the third power"),
            (" / (n * (n - 1))", "", "?"),
            ("kernel(a, b).mean()", "kernel(a, b).sum()", "?"),
            ("u @ v.T", "u * v", "raised RuntimeError"),
            ("kernel(a, b).mean()", "kernel(a, b)", "a number is wanted"),
        ],
        [
            ("k.sum() - k.trace()", "k.sum() - k.diag().sum()"),
            ("(k.sum() - k.trace()) / (n * (n - 1))", "k[~torch.eye(n).bool()].mean()"),
            ("u @ v.T / u.shape[1]", "torch.einsum('id, jd -> ij', u, v) / len(u[0])"),
            ("- 2 * between", "- between - kernel(b, a).mean()"),
        ],
    ),
    "precision_recall": (
        "generated, real, k",
        """
        def share(points, others):
            radii = torch.cdist(others, others).sort(dim=1).values[:, k]
            inside = torch.cdist(points, others) <= radii
            return inside.any(dim=1).float().mean()

        return share(generated, real), share(real, generated)""",
        [
            ("[:, k]", "[:, k - 1]", "its own nearest one"),
            ("[:, k]", "[:, k + 1]", "its own nearest one"),
            (
                "share(generated, real), share(real, generated)",
                "share(real, generated), share(generated, real)",
                "exchanged precision and recall",
            ),
            (
                "share(generated, real), share(real, generated)",
                "share(generated, real)",
                "2 results are wanted",
            ),
            ("any(dim=1)", "any(dim=0)", "not balls with a point"),
            ("any(dim=1)", "all(dim=1)", "one ball is enough"),
            (".any(dim=1).float()", ".float()", "one ball is enough"),
            (".any(dim=1).float().mean()", ".any(dim=1).sum()", "a number of points"),
            (".any(dim=1).float()", ".any(dim=1)", "raised RuntimeError"),
            ("<= radii", ">= radii", "?"),
            ("<= radii", "> radii", "?"),
            ("any(dim=1).float()", "any(dim=1).logical_not().float()", "1 minus the right"),
            ("[:, k]", "[k]", "?"),
            ("sort(dim=1).values", "sort(dim=1, descending=True).values", "?"),
            (".any(dim=1).float().mean()", "", "a number is wanted"),
            ("share(real, generated)", "share(generated, real)", "recall: "),
        ],
        [
            ("sort(dim=1).values[:, k]", "kthvalue(k + 1, dim=1).values"),
            ("sort(dim=1).values[:, k]", "topk(k + 1, dim=1, largest=False).values[:, -1]"),
            ("inside.any(dim=1).float().mean()", "inside.any(1).sum().item() / len(points)"),
            ("<= radii", "<= radii[None, :]"),
        ],
    ),
    "confusion_and_accuracy": (
        "logits, labels",
        """
        kinds, named = logits.shape[1], logits.argmax(dim=1)
        counts = torch.bincount(kinds * labels + named, minlength=kinds * kinds)
        counts = counts.reshape(kinds, kinds)
        accuracy = counts.diag().sum() / counts.sum()
        return counts, accuracy""",
        [
            ("kinds * labels + named", "labels + kinds * named", "rows are the classes asked"),
            ("return counts, accuracy", "return counts.T, accuracy", "rows are the classes asked"),
            ("return counts, accuracy", "return accuracy, counts", "exchanged confusion and"),
            ("return counts, accuracy", "return accuracy", "2 results are wanted"),
            (" / counts.sum()", "", "accuracy: divide the hits"),
            (
                "counts.diag().sum() / counts.sum()",
                "100 * counts.diag().sum() / counts.sum()",
                "accuracy: divide the hits",
            ),
            (" / counts.sum()", " / kinds", "accuracy: divide the hits"),
            ("argmax(dim=1)", "argmax(dim=0)", "raised RuntimeError"),
            ("argmax(dim=1)", "argmin(dim=1)", "?"),
            ("argmax(dim=1)", "max(dim=1).values", "not implemented for 'Float'"),
            ("return counts,", "return counts / counts.sum(),", "counts are wanted"),
            (
                "return counts,",
                "return counts / counts.sum(dim=1, keepdim=True),",
                "counts are wanted",
            ),
            ("return counts, acc", "return counts, 1 - acc", "1 minus the right"),
            (
                "counts.diag().sum() / counts.sum()",
                "(counts.diag() / counts.sum(1)).mean()",
                "the mean over classes",
            ),
            ("counts = counts.reshape(kinds, kinds)", "", "confusion: the shape should be"),
            ("counts.diag().sum() / counts.sum()", "counts.diag() / len(labels)", "a number is"),
        ],
        [
            ("counts.diag().sum() / counts.sum()", "(named == labels).float().mean()"),
            ("counts.diag().sum() / counts.sum()", "counts.trace().item() / len(labels)"),
            ("argmax(dim=1)", "max(dim=1).indices"),
            (
                "counts = counts.reshape(kinds, kinds)",
                "counts = torch.zeros(kinds, kinds, dtype=torch.long)\n"
                "        for row, column in zip(labels, named):\n"
                "            counts[row, column] += 1",
            ),
        ],
    ),
    "interval": (
        "values",
        """
        n = len(values)
        draws = torch.randint(n, (2000, n))
        means = values[draws].float().mean(dim=1)
        low, high = means.quantile(0.025), means.quantile(0.975)
        return low, high""",
        [
            ("0.025), means.quantile(0.975)", "0.05), means.quantile(0.95)", "2.5 % on each side"),
            ("means.quantile(0.025), means.quantile(0.975)", "means.min(), means.max()", "?"),
            (
                "low, high = means.quantile(0.025), means.quantile(0.975)",
                "low, high = values.quantile(0.025), values.quantile(0.975)",
                "not of the values",
            ),
            ("values[draws].float().mean(dim=1)", "values[draws].flatten()", "not of the values"),
            ("randint(n, (2000, n))", "rand(2000, n).argsort(1)", "with replacement"),
            (
                "means.quantile(0.025), means.quantile(0.975)",
                "means.mean() - means.std(), means.mean() + means.std()",
                "2.5 % on each side",
            ),
            (
                "means.quantile(0.025), means.quantile(0.975)",
                "values.mean() - 1.96 * values.std(), values.mean() + 1.96 * values.std()",
                "divide by sqrt(N)",
            ),
            (
                "means.quantile(0.025), means.quantile(0.975)",
                "-1.96 * means.std(), 1.96 * means.std()",
                "add the mean",
            ),
            ("return low, high", "return high, low", "exchanged low and high"),
            ("return low, high", "return high - low", "2 results are wanted"),
            ("return low, high", "return low", "2 results are wanted"),
            ("(dim=1)", "(dim=0)", "average each draw"),
            ("(2000, n)", "(2000, 5)", "?"),
            ("means.quantile(0.025)", "means.quantile(2.5)", "raised RuntimeError"),
            ("means.quantile(0.025)", "means.mean()", "low: "),
            ("return low, high", "print(low, high)", "it prints its result"),
        ],
        [
            (
                "means.quantile(0.025), means.quantile(0.975)",
                "means.quantile(torch.tensor([0.025, 0.975]))",
            ),
            (
                "low, high = means.quantile(0.025), means.quantile(0.975)",
                "means = means.sort().values\n        low, high = means[50], means[1949]",
            ),
            ("means = values[draws].float().mean(dim=1)", "means = values[draws].mean(-1)"),
            (
                "draws = torch.randint(n, (2000, n))\n"
                "        means = values[draws].float().mean(dim=1)",
                "means = torch.stack([values[torch.randint(n, (n,))].mean() for _ in range(2000)])",
            ),
        ],
    ),
    "density_and_coverage": (
        "generated, real, k",
        """
        radii = torch.cdist(real, real).sort(dim=1).values[:, k]
        inside = torch.cdist(generated, real) <= radii
        density = inside.sum() / (k * len(generated))
        coverage = inside.any(dim=0).float().mean()
        return density, coverage""",
        [
            ("[:, k]", "[:, k - 1]", "its own nearest one"),
            ("[:, k]", "[:, k + 1]", "its own nearest one"),
            ("(k * len(generated))", "len(generated)", "density: divide by k and"),
            ("(k * len(generated))", "k", "density: divide by k and"),
            ("inside.sum() / (k * len(generated))", "inside.float().mean()", "density: "),
            ("(k * len(generated))", "(k * len(real))", "density: divide by k and"),
            (
                "inside.sum() / (k * len(generated))",
                "inside.any(dim=1).float().mean()",
                "density: this is precision",
            ),
            ("any(dim=0)", "any(dim=1)", "coverage: coverage is a share of the real"),
            ("inside.any(dim=0).float().mean()", "inside.any(dim=0).sum()", "coverage: "),
            ("return density, coverage", "return coverage, density", "exchanged density and"),
            ("return density, coverage", "return density", "2 results are wanted"),
            ("any(dim=0).float()", "any(dim=0)", "raised RuntimeError"),
            ("cdist(real, real)", "cdist(generated, generated)", "raised RuntimeError"),
            ("any(dim=0)", "all(dim=0)", "coverage: every value is 0"),
            (
                "inside.sum() / (k * len(generated))",
                "inside.sum(dim=1) / k",
                "density: a number is wanted",
            ),
            (" <= radii", " <= radii[:, None]", "raised RuntimeError"),
        ],
        [
            ("sort(dim=1).values[:, k]", "kthvalue(k + 1, dim=1).values"),
            ("inside.sum() / (k * len(generated))", "inside.sum(dim=1).float().mean() / k"),
            ("inside.sum() / (k * len(generated))", "inside.float().mean() * len(real) / k"),
            ("return density, coverage", "return float(density), float(coverage)"),
        ],
    ),
    "streamed_moments": (
        "batches",
        """
        number, total, products = 0, 0, 0
        for batch in batches:
            batch = batch.double()
            number += len(batch)
            total = total + batch.sum(dim=0)
            products = products + batch.T @ batch
        mean = total / number
        return mean, (products - number * mean.outer(mean)) / (number - 1)""",
        [
            ("total / number", "total / len(batches)", "mean: "),
            (
                "return mean, ",
                "mean = torch.stack([b.mean(0) for b in batches]).mean(0)\n        return mean, ",
                "mean: batches differ in size",
            ),
            (
                "(products - number * mean.outer(mean)) / (number - 1)",
                "torch.stack([b.T.cov() for b in batches]).mean(0)",
                "covariance: batches differ in size",
            ),
            ("/ (number - 1)", "/ number", "covariance: divide by N - 1"),
            ("/ (number - 1)", "", "covariance: divide by N - 1"),
            ("number * mean.outer", "mean.outer", "covariance: subtract N products"),
            ("products - number * mean.outer(mean)", "products", "subtract the mean before"),
            ("total = total + batch.sum", "total = batch.sum", "?"),
            ("number += len(batch)", "number = len(batch)", "?"),
            (
                "return mean, (products - number * mean.outer(mean)) / (number - 1)",
                "return batch.mean(dim=0), batch.T.cov()",
                "mean: this is one batch",
            ),
            ("batch.T @ batch", "batch @ batch.T", "raised RuntimeError"),
            ("return mean, (", "return (", "2 results are wanted"),
            ("mean.outer(mean)", "mean @ mean", "?"),
            ("number += len(batch)", "number += 1", "mean: "),
            ("return mean, ", "return total, ", "mean: "),
            (
                "            products = products + batch.T @ batch",
                "        products = batch.T @ batch",
                "?",
            ),
        ],
        [
            ("mean.outer(mean)", "mean[:, None] * mean"),
            (
                "return mean, ",
                "x = torch.cat(batches)\n        return x.mean(0), x.T.cov()\n        return ",
            ),
            (
                "(products - number * mean.outer(mean)) / (number - 1)",
                "(products / number - mean.outer(mean)) * number / (number - 1)",
            ),
            ("batch = batch.double()", "pass"),
        ],
    ),
    "transport_map": (
        "mean_a, cov_a, mean_b, cov_b, x",
        """
        def power(cov, exponent):
            values, vectors = torch.linalg.eigh(cov)
            return vectors @ torch.diag(values**exponent) @ vectors.T

        root, inverse = power(cov_a, 0.5), power(cov_a, -0.5)
        middle = power(root @ cov_b @ root, 0.5)
        return mean_b + (x - mean_a) @ inverse @ middle @ inverse""",
        [
            (
                "@ inverse @ middle @ inverse",
                "@ inverse @ power(cov_b, 0.5)",
                "another map costs less",
            ),
            (
                "@ inverse @ middle @ inverse",
                "@ torch.linalg.cholesky(cov_a).inverse().T @ torch.linalg.cholesky(cov_b).T",
                "another map costs less",
            ),
            ("(x - mean_a)", "x", "subtract mean_a"),
            ("mean_b + (x", "(x", "add mean_b"),
            ("mean_b + (x", "mean_a + (x", "add mean_b"),
            (" @ inverse @ middle @ inverse", "", "the spread counts too"),
            ("@ inverse @ middle @ inverse", "@ middle", "the matrix is wrong"),
            ("inverse @ middle @ inverse", "root @ middle @ root", "the matrix is wrong"),
            ("inverse @ middle @ inverse", "inverse @ middle @ root", "the matrix is wrong"),
            ("(root @ cov_b @ root, 0.5)", "(root @ cov_b @ root, 1)", "the matrix is wrong"),
            (
                "mean_b + (x - mean_a) @ inverse @ middle @ inverse",
                "mean_a + (x - mean_b) @ torch.linalg.inv(inverse @ middle @ inverse)",
                "leads from b to a",
            ),
            ("cov_a, -0.5", "cov_a, -1", "?"),
            ("power(root @ cov_b @ root, 0.5)", "(root @ cov_b @ root) ** 0.5", "?"),
            ("@ vectors.T", "@ vectors", "?"),
            ("eigh(cov)", "eig(cov)", "raised RuntimeError"),
            ("return mean_b", "moved = mean_b", "is a `return` missing"),
        ],
        [
            (
                "vectors @ torch.diag(values**exponent) @ vectors.T",
                "vectors * values**exponent @ vectors.T",
            ),
            ("power(cov_a, -0.5)", "torch.linalg.inv(power(cov_a, 0.5))"),
            (
                "mean_b + (x - mean_a) @ inverse @ middle @ inverse",
                "(inverse @ middle @ inverse @ (x - mean_a).T).T + mean_b",
            ),
            (
                "root, inverse = power(cov_a, 0.5), power(cov_a, -0.5)\n"
                "        middle = power(root @ cov_b @ root, 0.5)\n"
                "        return mean_b + (x - mean_a) @ inverse @ middle @ inverse",
                "half = power(cov_b, 0.5)\n"
                "        move = half @ power(half @ cov_a @ half, -0.5) @ half\n"
                "        return mean_b + (x - mean_a) @ move",
            ),
        ],
    ),
    "frechet_diagonal": (
        "mean_a, std_a, mean_b, std_b",
        "return ((mean_a - mean_b) ** 2 + (std_a - std_b) ** 2).sum()",
        [
            ("(std_a - std_b) ** 2", "(std_a**2 - std_b**2) ** 2", "not variances"),
            (".sum()", ".mean()", "mean_a.shape[0] times too small"),
            (".sum()", ".sum().sqrt()", "this is the root"),
            (" + (std_a - std_b) ** 2", "", "both the means"),
            ("(mean_a - mean_b) ** 2 + ", "", "both the means"),
            (
                "((mean_a - mean_b) ** 2 + (std_a - std_b) ** 2)",
                "((mean_a - mean_b).abs() + (std_a - std_b).abs())",
                "square the gaps",
            ),
            ("(std_a - std_b) ** 2", "std_a**2 + std_b**2", "std_a - std_b"),
            (".sum()", "", "a number is wanted"),
            ("return (", "return 2 * (", "2 times the right one"),
            ("std_a - std_b", "std_a + std_b", "?"),
            ("return (", "total = (", "is a `return` missing"),
            (
                "((mean_a - mean_b) ** 2 + (std_a - std_b) ** 2).sum()",
                "torch.dist(mean_a, mean_b) + torch.dist(std_a, std_b)",
                "this is the root",
            ),
            (
                "(mean_a - mean_b) ** 2",
                "mean_a**2 - mean_b**2",
                "?",
            ),
            ("(std_a - std_b) ** 2", "(std_a - std_b).abs()", "?"),
        ],
        [
            (".sum()", ".sum().item()"),
            (
                "return ((mean_a - mean_b) ** 2 + (std_a - std_b) ** 2).sum()",
                "return torch.dist(mean_a, mean_b) ** 2 + torch.dist(std_a, std_b) ** 2",
            ),
            (".sum()", ".sum(0, keepdim=True)"),
            (
                "((mean_a - mean_b) ** 2 + (std_a - std_b) ** 2).sum()",
                "sum((a - b) ** 2 for a, b in [*zip(mean_a, mean_b), *zip(std_a, std_b)])",
            ),
        ],
    ),
    "predicted_scores": (
        "",
        "return 0.5, 0.2",
        [
            ("0.5, 0.2", "0.2, 0.5", "faithful; recall: one blob"),
            ("0.5, 0.2", "0.5, 0.5", "recall: one blob of five"),
            ("0.5, 0.2", "1.0, 0.2", "precision: half of what is made"),
            ("0.5, 0.2", "0.5, 0.8", "recall: one blob of five"),
            ("0.5, 0.2", "0.5", "2 results are wanted, (precision, recall)"),
            ("0.5, 0.2", "50, 20", "precision: 50 is not right"),
            ("0.5, 0.2", "0.1, 0.1", "precision: half of what is made"),
            ("0.5, 0.2", "math.nan, math.nan", "nan"),
            ("0.5, 0.2", "0.5, 0.0", "recall: 0 is not right"),
            ("0.5, 0.2", "0.5, 1.0", "recall: one blob of five"),
            ("0.5, 0.2", "'half', 'a fifth'", "precision: a number is wanted"),
            ("return 0.5, 0.2", "precision, recall = 0.5, 0.2", "is a `return` missing"),
            ("return 0.5, 0.2", "print(0.5, 0.2)", "it prints its result"),
        ],
        [
            ("0.5, 0.2", "[1 / 2, 1 / 5]"),
            ("0.5, 0.2", "0.51, 0.19"),
            ("0.5, 0.2", "torch.tensor([0.5, 0.2])"),
            ("return 0.5, 0.2", "good, kinds = 0.5, 5\n        return good, 1 / kinds"),
        ],
    ),
    "nearest_or_mirrored": (
        "images, pool",
        """
        plain, index = nearest_pictures(images, pool)
        flipped, other = nearest_pictures(images.flip(3), pool)
        return torch.minimum(plain, flipped), torch.where(flipped < plain, other, index)""",
        [
            (
                "return torch.minimum(plain, flipped), torch.where(flipped < plain, other, index)",
                "return plain, index",
                "distances: compare the image and its mirror",
            ),
            (
                "return torch.minimum(plain, flipped), torch.where(flipped < plain, other, index)",
                "return flipped, other",
                "distances: compare the image and its mirror",
            ),
            ("flip(3)", "flip(2)", "flip along the width"),
            ("torch.minimum", "torch.maximum", "the smaller of the two"),
            ("flipped < plain, other, index", "flipped > plain, other, index", "indices: "),
            ("torch.where(flipped < plain, other, index)", "index", "indices: an index belongs"),
            (
                "return torch.minimum(plain, flipped), torch.where(flipped < plain, other, index)",
                "return torch.where(flipped < plain, other, index), torch.minimum(plain, flipped)",
                "distances: this is indices",
            ),
            (
                "return torch.minimum(plain, flipped), torch",
                "return torch.minimum(plain, flipped) ** 2, torch",
                "the square of the right",
            ),
            (", torch.where(flipped < plain, other, index)", "", "2 results are wanted"),
            (
                "torch.where(flipped < plain, other, index)",
                "torch.where(flipped < plain, other + len(pool), index)",
                "indices: ",
            ),
            ("flip(3)", "flip(1)", "distances: "),
            ("flip(3)", "flip(2, 3)", "distances: "),
            ("flip(3)", "flip(0)", "distances: "),
            ("return torch.minimum", "found = torch.minimum", "is a `return` missing"),
        ],
        [
            ("flipped < plain, other, index", "plain <= flipped, index, other"),
            (
                "return torch.minimum(plain, flipped)",
                "return torch.stack([plain, flipped]).amin(0)",
            ),
            ("images.flip(3)", "torch.flip(images, dims=(-1,))"),
            (
                "torch.minimum(plain, flipped)",
                "torch.where(flipped < plain, flipped, plain)",
            ),
        ],
    ),
    "distance_at_infinity": (
        "sizes, distances",
        """
        u = 1 / sizes
        du, dd = u - u.mean(), distances - distances.mean()
        slope = (du * dd).mean() / (du * du).mean()
        return distances.mean() - slope * u.mean()""",
        [
            ("u = 1 / sizes", "u = sizes", "against 1 / N"),
            ("u = 1 / sizes", "u = sizes ** -0.5", "sqrt(N)"),
            ("return distances.mean() - slope * u.mean()", "return slope", "the slope"),
            (" - slope * u.mean()", "", "the line goes on"),
            ("return distances.mean() - slope * u.mean()", "return distances[-1]", "largest N"),
            ("mean() - slope", "mean() + slope", "?"),
            ("return distances.mean()", "return distances", "a number is wanted"),
            ("slope = (du * dd).mean()", "slope = (du * dd).sum()", "?"),
            ("return dist", "return -dist", "?"),
            ("u = 1 / sizes", "u = 1 / sizes**2", "?"),
            ("u = 1 / sizes", "u = sizes.log()", "?"),
            ("- slope * u.mean()", "- slope", "?"),
            ("return distances.mean()", "height = distances.mean()", "is a `return` missing"),
        ],
        [
            (
                "slope = (du * dd).mean() / (du * du).mean()",
                "slope = (du * dd).sum() / du.square().sum()",
            ),
            (
                "        u =",
                "        from numpy import polyfit\n"
                "        return polyfit(1 / sizes.numpy(), distances.numpy(), 1)[1]\n        u =",
            ),
            (
                "return distances.mean() - slope * u.mean()",
                "return (distances - slope * u).mean().item()",
            ),
            (
                "slope = (du * dd).mean() / (du * du).mean()",
                "ones = torch.stack([u, torch.ones_like(u)], 1)\n"
                "        return torch.linalg.lstsq(ones, distances).solution[1]\n"
                "        slope = 0",
            ),
        ],
    ),
}
