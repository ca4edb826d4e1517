"""Answers to the exercises of lesson 04, wrong and right; see test_checks.py."""

from . import Corpus

CORPUS: Corpus = {
    "denoising_loss": (
        "network, images, noise, t",
        """
        xt = (1 - t) * images + t * noise
        return F.mse_loss(network(xt), images)""",
        [
            ("network(xt), images", "network(xt), xt", "with the clean images"),
            ("network(xt), images", "network(xt), noise", "with the clean images"),
            ("network(xt), images", "network(images), images", "must see the noisy images"),
            ("network(xt), images", "network(noise), images", "must see the noisy images"),
            ("(1 - t) * images + t * noise", "t * images + (1 - t) * noise", "t = 0 is data"),
            ("(1 - t) * images", "images", "the images fade too"),
            ("network(xt), images", "xt, images", "the network is missing"),
            ("mse_loss", "l1_loss", "the mean of the squares"),
            ("images)", 'images, reduction="sum")', "the mean of the squares"),
            ("images)", 'images, reduction="none")', "a number is wanted"),
            ("F.mse_loss(network(xt), images)", "network(xt)", "a number is wanted"),
            ("images)", "images).sqrt()", "this is the sqrt of"),
            ("network(xt), images", "images, images", "every value is 0"),
            ("(1 - t) * images +", "(1 - t) * images -", "?"),
            ("return F", "loss = F", "is a `return` missing"),
        ],
        [
            ("F.mse_loss(network(xt), images)", "((network(xt) - images) ** 2).mean()"),
            ("F.mse_loss(network(xt), images)", "nn.MSELoss()(images, network(xt))"),
            ("(1 - t) * images + t * noise", "images + t * (noise - images)"),
            ("(1 - t) * images + t * noise", "torch.lerp(images, noise, t)"),
        ],
    ),
    "mix_and_velocity": (
        "path, x0, noise, t",
        """
        t = t.reshape(-1, *[1] * (x0.ndim - 1))
        xt = path.alpha(t) * x0 + path.sigma(t) * noise
        v = path.d_alpha(t) * x0 + path.d_sigma(t) * noise
        return xt, v""",
        [
            ("t = t.reshape(-1, *[1] * (x0.ndim - 1))", "pass", "along the last axis"),
            ("t = t.reshape(-1, *[1] * (x0.ndim - 1))", "t = t[None]", "along the last axis"),
            ("t.reshape(-1, *[1] * (x0.ndim - 1))", "t[:, None]", "?"),
            (
                "t.reshape(-1, *[1] * (x0.ndim - 1))",
                "t[:, None, None, None]",
                "the shape should be",
            ),
            ("return xt, v", "return v, xt", "xt: this is v; v: this is xt"),
            ("return xt, v", "return xt", "2 results are wanted"),
            ("return xt, v", "return {'xt': xt, 'v': v}", "2 results are wanted"),
            (
                "path.alpha(t) * x0 + path.sigma(t) * noise",
                "path.sigma(t) * x0 + path.alpha(t) * noise",
                "xt: alpha belongs to x0",
            ),
            (
                "path.d_alpha(t) * x0 + path.d_sigma(t) * noise",
                "path.d_sigma(t) * x0 + path.d_alpha(t) * noise",
                "v: alpha belongs to x0",
            ),
            (
                "path.alpha(t) * x0 + path.sigma(t) * noise",
                "(1 - t) * x0 + t * noise",
                "xt: this holds on the straight path only",
            ),
            (
                "path.d_alpha(t) * x0 + path.d_sigma(t) * noise",
                "noise - x0",
                "v: this holds on the straight path only",
            ),
            ("d_alpha(t) * x0 + path.d_sigma", "alpha(t) * x0 + path.sigma", "this is xt"),
            ("x0 + path.d_sigma", "x0 - path.d_sigma", "v: add the second term"),
            ("v = path.d_alpha", "v = -path.d_alpha", "?"),
            ("path.d_alpha(t) * x0", "path.d_alpha * x0", "raised TypeError"),
        ],
        [
            ("t.reshape(-1, *[1] * (x0.ndim - 1))", "t.reshape(t.shape + (1,) * (x0.ndim - 1))"),
            ("t.reshape(-1, *[1] * (x0.ndim - 1))", "t.view(len(t), *(1 for _ in x0.shape[1:]))"),
            ("return xt, v", "return [xt, v]"),
            ("xt = path.alpha(t) * x0 + path.sigma(t) * noise", "xt = path.mix(x0, noise, t)"),
        ],
    ),
    "split": (
        "path, xt, v, t",
        """
        t = t.reshape(-1, *[1] * (xt.ndim - 1))
        a, s, da, ds = path.alpha(t), path.sigma(t), path.d_alpha(t), path.d_sigma(t)
        determinant = a * ds - da * s
        x0 = (ds * xt - s * v) / determinant
        noise = (a * v - da * xt) / determinant
        return x0, noise""",
        [
            ("t = t.reshape(-1, *[1] * (xt.ndim - 1))", "pass", "along the last axis"),
            (
                "t.reshape(-1, *[1] * (xt.ndim - 1))",
                "t[:, None, None, None]",
                "the shape should be",
            ),
            ("(ds * xt - s * v) / determinant", "xt - t * v", "x0: this holds on the straight"),
            (
                "(a * v - da * xt) / determinant",
                "xt + (1 - t) * v",
                "noise: this holds on the straight",
            ),
            (" / determinant", "", "divide by the determinant"),
            (" / determinant", " * determinant", "divide by the determinant"),
            ("a * ds - da * s", "a * ds + da * s", "the determinant is a difference"),
            ("a * ds - da * s", "da * s - a * ds", "the sign is wrong"),
            ("a * ds - da * s", "a * da - s * ds", "?"),
            ("return x0, noise", "return noise, x0", "x0: this is noise; noise: this is x0"),
            ("xt - s * v", "xt + s * v", "x0: a sign above the line"),
            ("a * v - da", "a * v + da", "noise: a sign above the line"),
            ("(a * v - da * xt)", "(da * xt - a * v)", "noise: the sign is wrong"),
            ("return x0, noise", "return x0", "2 results are wanted"),
            ("noise = (a * v - da * xt) / determinant", "noise = xt - x0", "?"),
        ],
        [
            ("x0 = (ds * xt - s * v) / determinant", "x0 = (xt - s * v / ds) / (a - s * da / ds)"),
            ("return x0, noise", "return path.split(xt, v, t.flatten())"),
            ("(ds * xt - s * v) / determinant", "(s * v - ds * xt) / (da * s - a * ds)"),
            ("noise = (a * v - da * xt) / determinant", "noise = (xt - a * x0) / s"),
        ],
    ),
    "ddpm_path": (
        "beta",
        """
        alpha_bar = torch.cumprod(1 - beta, dim=0)
        return alpha_bar.sqrt(), (1 - alpha_bar).sqrt()""",
        [
            ("alpha_bar.sqrt(), (", "alpha_bar, (", "alpha: this is the square of the right"),
            ("(1 - alpha_bar).sqrt()", "1 - alpha_bar", "sigma: this is the square of the right"),
            ("(1 - alpha_bar).sqrt()", "1 - alpha_bar.sqrt()", "add up to 1"),
            ("torch.cumprod(1 - beta, dim=0)", "1 - beta", "this is one step"),
            ("torch.cumprod(1 - beta, dim=0)", "(1 - beta) ** 2", "this is one step"),
            ("1 - beta", "beta", "the product is over 1 - beta"),
            ("torch.cumprod(1 - beta, dim=0)", "1 - beta.cumprod(0)", "the product is over 1"),
            ("torch.cumprod(1 - beta, dim=0)", "1 - beta.cumsum(0)", "do not add up the betas"),
            (
                "torch.cumprod(1 - beta, dim=0)",
                "torch.prod(1 - beta).expand_as(beta)",
                "a product of its own",
            ),
            ("torch.cumprod(1 - beta, dim=0)", "torch.prod(1 - beta)", "the shape should be"),
            (
                "alpha_bar.sqrt(), (1 - alpha_bar).sqrt()",
                "(1 - alpha_bar).sqrt(), alpha_bar.sqrt()",
                "alpha: this is sigma; sigma: this is alpha",
            ),
            (
                "alpha_bar.sqrt(), (1 - alpha_bar).sqrt()",
                "alpha_bar.sqrt()",
                "2 results are wanted",
            ),
            ("torch.cumprod(1 - beta, dim=0)", "torch.cumprod(1 - beta)", "raised TypeError"),
            ("torch.cumprod(1 - beta, dim=0)", "torch.cumprod((1 - beta).flip(0), 0)", "?"),
        ],
        [
            ("torch.cumprod(1 - beta, dim=0)", "torch.exp(torch.cumsum(torch.log1p(-beta), 0))"),
            ("torch.cumprod(1 - beta, dim=0)", "torch.cumprod((1 - beta).sqrt(), 0) ** 2"),
            ("(1 - alpha_bar).sqrt()", "torch.sqrt(1 - alpha_bar.sqrt() ** 2)"),
            (
                "torch.cumprod(1 - beta, dim=0)",
                "torch.stack([(1 - beta[: i + 1]).prod() for i in range(len(beta))])",
            ),
        ],
    ),
    "best_x0": (
        "xt, points, path, t",
        """
        alpha, sigma = path.alpha(t), path.sigma(t)
        r = torch.cdist(xt, alpha * points) / sigma
        w = torch.softmax(-(r**2) / 2, dim=-1)
        return w @ points, w""",
        [
            ("alpha * points)", "points)", "the centres are alpha * points"),
            ("-(r**2)", "(r**2)", "minus sign in the exponent"),
            ("-(r**2) / 2", "-(r**2)", "divide by 2 sigma^2"),
            (" / sigma", "", "divide by 2 sigma^2"),
            ("/ sigma", "/ sigma**0.5", "divide by 2 sigma^2"),
            ("-(r**2) / 2", "-r / 2", "square the distance"),
            ("-(r**2) / 2", "-r", "square the distance"),
            ("dim=-1", "dim=0", "must run over the points"),
            (
                "torch.softmax(-(r**2) / 2, dim=-1)",
                "F.one_hot(r.argmin(-1), len(points)).to(xt)",
                "mean of all points, weighted",
            ),
            ("return w @ points", "return w @ (alpha * points)", "x0_hat: take the mean of points"),
            (
                "torch.softmax(-(r**2) / 2, dim=-1)",
                "torch.exp(-(r**2) / 2)",
                "the weights must sum to 1",
            ),
            ("return w @ points, w", "return w @ points", "2 results are wanted"),
            (
                "return w @ points, w",
                "return w, w @ points",
                "x0_hat: this is w; w: this is x0_hat",
            ),
            ("return w @ points, w", "return points @ w, w", "raised RuntimeError"),
            ("w = torch", "w = -torch", "the sign is wrong"),
            ("path.sigma(t)", "t", "?"),
        ],
        [
            (
                "torch.cdist(xt, alpha * points)",
                "(xt[:, None] - alpha * points).norm(dim=-1)",
            ),
            (
                "w = torch.softmax(-(r**2) / 2, dim=-1)",
                "e = torch.exp(-(r**2) / 2)\n        w = e / e.sum(-1, keepdim=True)",
            ),
            ("return w @ points, w", "return (w[..., None] * points).sum(1), w"),
            (
                "r = torch.cdist(xt, alpha * points) / sigma\n",
                "x = alpha * points\n        r = ((xt @ xt.T).diag()[:, None] - 2 * xt @ x.T"
                " + (x**2).sum(-1)).sqrt() / sigma\n",
            ),
        ],
    ),
    "score": (
        "path, xt, v, t",
        """
        _, noise_hat = path.split(xt, v, t)
        return -noise_hat / path.sigma(t.reshape(-1, *[1] * (xt.ndim - 1)))""",
        [
            ("path.sigma(t.reshape(-1, *[1] * (xt.ndim - 1)))", "path.sigma(t)", "the last axis"),
            ("return -noise_hat", "return noise_hat", "the sign is wrong"),
            (" / path.sigma(t.reshape(-1, *[1] * (xt.ndim - 1)))", "", "divide the noise by sigma"),
            ("noise_hat / path", "noise_hat * path", "divide the noise by sigma"),
            ("(xt.ndim - 1)))", "(xt.ndim - 1))) ** 2", "divide the noise by sigma, once"),
            (
                "return -noise_hat / path.sigma(t.reshape(-1, *[1] * (xt.ndim - 1)))",
                "return noise_hat",
                "this is the noise",
            ),
            ("_, noise_hat", "noise_hat, _", "split v, and take the noise"),
            ("return -noise_hat", "return -v", "split v, and take the noise"),
            ("return -noise_hat", "return -xt", "split v, and take the noise"),
            (
                "_, noise_hat = path.split(xt, v, t)",
                "time = t.reshape(-1, *[1] * (xt.ndim - 1))\n"
                "        noise_hat = xt + (1 - time) * v",
                "yours is the straight path",
            ),
            ("path.sigma(t.reshape", "(t.reshape", "divide the noise by sigma, once"),
            ("_, noise_hat", "noise_hat", "raised TypeError"),
            ("path.sigma", "path.alpha", "?"),
            ("path.split(xt, v, t)", "path.split(v, xt, t)", "?"),
        ],
        [
            ("_, noise_hat = path.split(xt, v, t)", "noise_hat = path.split(xt, v, t)[1]"),
            (
                "_, noise_hat = path.split(xt, v, t)",
                "x0, _ = path.split(xt, v, t)\n        noise_hat = path.noise_from_x0(xt, x0, t)",
            ),
            (
                "path.sigma(t.reshape(-1, *[1] * (xt.ndim - 1)))",
                "path.sigma(t).reshape(t.shape + (1,) * (xt.ndim - 1))",
            ),
            (
                "return -noise_hat / path.sigma(t.reshape(-1, *[1] * (xt.ndim - 1)))",
                "t = t.view(len(t), *[1] * (xt.ndim - 1))\n"
                "        x0 = path.split(xt, v, t.flatten())[0]\n"
                "        return (path.alpha(t) * x0 - xt) / path.sigma(t) ** 2",
            ),
        ],
    ),
    "training_loss": (
        "net, path, x0",
        """
        noise = torch.randn_like(x0)
        t = torch.rand(len(x0))
        xt = path.mix(x0, noise, t)
        v = path.velocity(x0, noise, t)
        return F.mse_loss(net(xt, t), v)""",
        [
            ("net(xt, t), v", "net(xt, t), noise", "the target is v"),
            ("net(xt, t), v", "net(xt, t), x0", "the target is v"),
            ("net(xt, t), v", "net(xt, t), xt", "the target is v"),
            ("net(xt, t), v", "net(xt, t), -v", "the target is v"),
            ("velocity(x0, noise, t)", "velocity(x0, torch.randn_like(x0), t)", "the same noise"),
            ("path.velocity(x0, noise, t)", "noise - x0", "on the straight path only"),
            ("randn_like", "rand_like", "draw the noise with randn"),
            ("net(xt, t), v", "net(x0, t), v", "the network must see xt"),
            ("net(xt, t), v", "net(noise, t), v", "the network must see xt"),
            ("v)", "v, reduction='sum')", "take the mean, not the sum"),
            ("mse_loss", "l1_loss", "square it"),
            ("torch.rand(len(x0))", "torch.rand(()).expand(len(x0))", "a time for each example"),
            ("torch.rand(len(x0))", "torch.rand(1)", "one time for each example"),
            ("torch.rand(len(x0))", "torch.randn(len(x0)).sigmoid()", "evenly between 0 and 1"),
            ("torch.rand(len(x0))", "torch.rand(len(x0)) / 2", "evenly between 0 and 1"),
            ("net(xt, t), v", "net(xt, 1 - t), v", "the t of that mixture"),
            ("v)", "v).item()", "with its gradient"),
            ("net(xt, t), v", "net(xt, t).detach(), v", "with its gradient"),
            ("net(xt, t), v", "v, v", "call net, and return"),
            ("net(xt, t), v", "net(xt), v", "raised TypeError"),
            ("return F", "loss = F", "is a `return` missing"),
        ],
        [
            ("F.mse_loss(net(xt, t), v)", "((net(xt, t) - v) ** 2).mean()"),
            ("torch.rand(len(x0))", "torch.linspace(0, 1, len(x0))[torch.randperm(len(x0))]"),
            ("torch.randn_like(x0)", "torch.randn(x0.shape)"),
            ("F.mse_loss(net(xt, t), v)", "nn.MSELoss()(v, net(xt, t))"),
        ],
    ),
    "loss_floor_left": (
        "net, best, path, x0, noise, t",
        """
        xt = path.mix(x0, noise, t)
        v = path.velocity(x0, noise, t)
        v_hat, v_best = net(xt, t), best(xt, t)
        loss = F.mse_loss(v_hat, v)
        floor = F.mse_loss(v_best, v)
        left = F.mse_loss(v_hat, v_best)
        return loss, floor, left""",
        [
            ("F.mse_loss(v_hat, v_best)", "loss - floor", "left: compare the two networks"),
            (
                "return loss, floor, left",
                "return loss, left, floor",
                "floor: this is left; left: this is floor",
            ),
            (
                "return loss, floor, left",
                "return floor, loss, left",
                "loss: this is floor; floor: this is loss",
            ),
            ("mse_loss", "l1_loss", "square the differences"),
            ("F.mse_loss(v_hat, v)", "F.mse_loss(v_hat, noise)", "loss: "),
            ("F.mse_loss(v_best, v)", "F.mse_loss(v_best, x0)", "floor: "),
            ("return loss, floor, left", "return loss", "3 results are wanted"),
            ("return loss, floor, left", "return loss, floor", "3 results are wanted"),
            ("F.mse_loss(v_best, v)", "v_best", "floor: a number is wanted"),
            ("F.mse_loss(v_hat, v_best)", "floor - loss", "left: "),
            ("best(xt, t)", "best(x0, t)", "?"),
            ("net(xt, t)", "net(xt)", "raised TypeError"),
            ("path.velocity(x0, noise, t)", "noise - x0", "?"),
            ("F.mse_loss(v_hat, v)", "F.mse_loss(v_hat, v).sqrt()", "loss: this is the sqrt"),
        ],
        [
            ("F.mse_loss(v_hat, v)", "((v_hat - v) ** 2).mean()"),
            ("F.mse_loss(v_best, v)", "nn.MSELoss()(v, v_best)"),
            ("return loss, floor, left", "return torch.stack([loss, floor, left])"),
            ("return loss, floor, left", "return loss.item(), floor.item(), left.item()"),
        ],
    ),
    "stratified_times": (
        "num",
        """
        u = (torch.randperm(num) + torch.rand(num)) / num
        return torch.special.ndtri(u).sigmoid()""",
        [
            ("return torch.special.ndtri(u).sigmoid()", "return u", "this is u"),
            (".sigmoid()", "", "the sigmoid is missing"),
            ("torch.special.ndtri(u)", "u", "hold no time"),
            ("(torch.randperm(num) + torch.rand(num)) / num", "torch.rand(num)", "hold no time"),
            ("torch.rand(num)", "0.5", "two calls give the same times"),
            ("torch.randperm", "torch.arange", "the times are in order"),
            ("torch.rand(num)", "torch.randn(num)", "hold no time"),
            (") / num", ")", "hold no time"),
            (
                "return torch.special.ndtri(u).sigmoid()",
                "return torch.randn(num).sigmoid()",
                "hold no time",
            ),
            ("torch.randperm(num) + ", "", "hold no time"),
            ("randperm(num)", "randperm(num + 1)", "raised RuntimeError"),
            (".sigmoid()", ".sigmoid().tolist()", "a tensor of times is wanted"),
            ("ndtri(u)", "ndtr(u)", "hold no time"),
            (
                "return torch.special.ndtri(u).sigmoid()",
                "return torch.linspace(0, 1, num + 2)[1:-1]",
                "this is u",
            ),
            ("torch.randperm(num)", "torch.randint(num, (num,))", "hold no time"),
        ],
        [
            ("torch.special.ndtri(u)", "(math.sqrt(2) * torch.erfinv(2 * u - 1))"),
            (
                "u = (torch.randperm(num) + torch.rand(num)) / num",
                "u = (torch.arange(num) + torch.rand(num)) / num\n"
                "        u = u[torch.randperm(num)]",
            ),
            (
                "torch.special.ndtri(u).sigmoid()",
                "torch.sigmoid(torch.distributions.Normal(0, 1).icdf(u))",
            ),
            (
                "return torch.special.ndtri(u).sigmoid()",
                "z = torch.special.ndtri(u.double())\n        return 1 / (1 + torch.exp(-z))",
            ),
        ],
    ),
    "velocity_from_noise": (
        "path, xt, noise_hat, t",
        """
        time = t.reshape(-1, *[1] * (xt.ndim - 1))
        x0_hat = (xt - path.sigma(time) * noise_hat) / path.alpha(time)
        return path.velocity(x0_hat, noise_hat, t)""",
        [
            (" / path.alpha(time)", "", "divide it by alpha"),
            ("/ path.alpha(time)", "/ path.sigma(time)", "divide it by alpha"),
            ("path.velocity(x0_hat,", "path.velocity(xt,", "in place of x0"),
            ("return path", "return -path", "the sign is wrong"),
            ("path.velocity(x0_hat, noise_hat, t)", "x0_hat", "this is x0"),
            ("path.velocity(x0_hat, noise_hat, t)", "noise_hat - x0_hat", "straight path only"),
            ("t.reshape(-1, *[1] * (xt.ndim - 1))", "t", "along the last axis"),
            (
                "t.reshape(-1, *[1] * (xt.ndim - 1))",
                "t[:, None, None, None]",
                "the shape should be",
            ),
            ("path.velocity(x0_hat, noise_hat, t)", "noise_hat", "as it came"),
            ("path.sigma(time) * noise_hat", "noise_hat", "?"),
            ("(xt - path.sigma(time) * noise_hat)", "xt", "?"),
            ("(xt - path", "(xt + path", "?"),
            ("return path", "answer = path", "is a `return` missing"),
        ],
        [
            ("t.reshape(-1, *[1] * (xt.ndim - 1))", "t.view(len(t), *(1 for _ in xt.shape[1:]))"),
            (
                "path.velocity(x0_hat, noise_hat, t)",
                "path.d_alpha(time) * x0_hat + path.d_sigma(time) * noise_hat",
            ),
            ("path.velocity(x0_hat, noise_hat, t)", "path.velocity_from_x0(xt, x0_hat, t)"),
        ],
    ),
    "two_points_x0": (
        "xt, alpha, sigma",
        "return torch.tanh(alpha * xt / sigma**2)",
        [
            ("sigma**2", "sigma", "not squared"),
            ("alpha * xt", "xt", "alpha is missing"),
            ("alpha * xt", "2 * alpha * xt", "factor of 2 in the exponent"),
            ("alpha * xt", "alpha * xt / 2", "factor of 2 in the exponent"),
            ("torch.tanh(alpha * xt / sigma**2)", "xt.sign()", "the nearer point"),
            ("torch.tanh(alpha * xt / sigma**2)", "xt / alpha", "the noise is still in it"),
            ("tanh", "sigmoid", "?"),
            ("torch.tanh", "-torch.tanh", "the sign is wrong"),
            (
                "return torch.tanh(alpha * xt / sigma**2)",
                "return torch.sigmoid(2 * alpha * xt / sigma**2)",
                "the probability of 1",
            ),
            ("torch.tanh", "math.tanh", "your function raised"),
            ("xt /", "xt.abs() /", "the abs of"),
            ("alpha * xt", "xt / alpha", "?"),
            (
                "torch.tanh(alpha * xt / sigma**2)",
                "(xt / alpha).clamp(-1, 1)",
                "the noise is still in it",
            ),
        ],
        [
            (
                "return torch.tanh(alpha * xt / sigma**2)",
                "w = torch.softmax(torch.stack([-((xt - alpha) ** 2), -((xt + alpha) ** 2)])"
                " / (2 * sigma**2), 0)\n        return w[0] - w[1]",
            ),
            (
                "torch.tanh(alpha * xt / sigma**2)",
                "2 * torch.sigmoid(2 * alpha * xt / sigma**2) - 1",
            ),
            ("alpha * xt / sigma**2", "xt.double() * (alpha / sigma) / sigma"),
        ],
    ),
    "my_path": (
        "",
        """
        return NoisePath(
            name="gentle",
            alpha=lambda t: torch.cos(math.pi / 2 * t) ** 2,
            sigma=lambda t: torch.sin(math.pi / 2 * t) ** 2,
            d_alpha=lambda t: -math.pi / 2 * torch.sin(math.pi * t),
            d_sigma=lambda t: math.pi / 2 * torch.sin(math.pi * t),
        )""",
        [
            ("-math.pi / 2 * torch", "math.pi / 2 * torch", "d_alpha: the sign is wrong"),
            ("t: math.pi / 2 * torch", "t: torch", "d_sigma: the inner derivative"),
            (
                "t: math.pi / 2 * torch",
                "t: math.pi / 4 * torch",
                "d_sigma: your result is 0.5 times",
            ),
            (
                "2 * t) ** 2,\n            sigma",
                "2 * t),\n            sigma",
                "alpha: this is the sqrt of the right",
            ),
            ("t: math.pi / 2 * torch", "t: math.pi * torch", "d_sigma: your result is 2 times"),
            (
                "d_sigma=lambda t: math.pi / 2 * torch.sin",
                "d_sigma=lambda t: math.pi / 2 * math.sin",
                "in line",
            ),
            ("return NoisePath(", "return dict(", "return a NoisePath"),
            ("alpha=lambda t: torch.cos", "alpha=lambda t: torch.sin", "alpha: "),
            (
                "-math.pi / 2 * torch.sin(math.pi * t)",
                "torch.tensor(-1.0)",
                "d_alpha: the shape should be (19,)",
            ),
            (
                "sigma=lambda t: torch.sin(math.pi / 2 * t) ** 2",
                "sigma=lambda t: torch.sin(math.pi / 2 * t)",
                "sigma: this is the sqrt of the right",
            ),
            (
                "d_sigma=lambda t: math.pi / 2 * torch.sin(math.pi * t)",
                "d_sigma=lambda t: math.pi / 2 * torch.cos(math.pi * t)",
                "d_sigma: ",
            ),
            ("return NoisePath", "path = NoisePath", "is a `return` missing"),
        ],
        [
            ("torch.cos(math.pi / 2 * t) ** 2", "(1 + torch.cos(math.pi * t)) / 2"),
            (
                "-math.pi / 2 * torch.sin(math.pi * t)",
                "-math.pi * torch.sin(math.pi / 2 * t) * torch.cos(math.pi / 2 * t)",
            ),
            ("torch.sin(math.pi / 2 * t) ** 2", "1 - torch.cos(math.pi / 2 * t) ** 2"),
        ],
    ),
    "euler": (
        "velocity, noise, num_steps",
        """
        x = noise
        for i in range(num_steps):
            t = torch.full((len(x),), 1 - i / num_steps)
            x = x - velocity(x, t) / num_steps
        return x""",
        [
            ("1 - i / num", "i / num", "your times rise"),
            ("x - velocity", "x + velocity", "subtract it"),
            ("1 - i / num", "1 - (i + 1) / num", "where a step begins"),
            ("1 - i / num", "1 - (i + 0.5) / num", "where a step begins"),
            (
                "torch.full((len(x),), 1 - i / num_steps)",
                "torch.tensor(1 - i / num_steps)",
                "one time for each example",
            ),
            (
                "torch.full((len(x),), 1 - i / num_steps)",
                "1 - i / num_steps",
                "one time for each example",
            ),
            ("x = x - ", "x -= ", "changes `noise`"),
            (" / num_steps\n        return", "\n        return", "?"),
            ("range(num_steps)", "range(num_steps - 1)", "?"),
            ("return x", "return noise", "`noise` as it came"),
            ("            x = x -", "            y = x -", "`noise` as it came"),
            ("range(num_steps)", "range(6)", "it is right with noise of shape (2, 3)"),
        ],
        [
            (
                "torch.full((len(x),), 1 - i / num_steps)",
                "torch.ones(len(x)) * (1 - i / num_steps)",
            ),
            (
                "            t = torch.full((len(x),), 1 - i / num_steps)",
                "            t = torch.linspace(1, 0, num_steps + 1)[i].double().expand(len(x))",
            ),
            (
                "x = x - velocity(x, t) / num_steps",
                "x = x.clone().sub_(velocity(x, t) / num_steps)",
            ),
        ],
    ),
    "log_density": (
        "velocity, x, num_steps",
        """
        total = torch.zeros(len(x))
        for i in range(num_steps):
            t = torch.full((len(x),), i / num_steps)
            x = x.detach().requires_grad_()
            v = velocity(x, t)
            (slope,) = torch.autograd.grad(v.sum(), x)
            total = total + slope / num_steps
            x = x + v / num_steps
        normal = -(x**2) / 2 - math.log(2 * math.pi) / 2
        return (normal + total).detach()""",
        [
            ("normal + total", "normal", "add up dv/dx, divided"),
            ("normal + total", "normal - total", "dv/dx has the wrong sign"),
            ("slope / num_steps", "slope", "add up dv/dx, divided"),
            (" - math.log(2 * math.pi) / 2", "", "off by +0.9189"),
            ("math.log(2 * math.pi) / 2", "math.log(2 * math.pi)", "off by -0.9189"),
            ("normal + total", "total", "add the normal density"),
            ("            x = x + v / num_steps", "            pass", "?"),
            ("x = x + v", "x = x - v", "?"),
            ("i / num_steps)\n            x =", "1 - i / num_steps)\n            x =", "?"),
            ("torch.full((len(x),), i / num_steps)", "torch.tensor(i / num_steps)", "one time for"),
            ("(normal + total)", "(normal + total).exp()", "this is the exp of"),
            ("-(x**2) / 2", "-(x**2)", "?"),
            ("i / num_steps)\n            x =", "(i + 1) / num_steps)\n            x =", "?"),
            ("(normal + total).detach()", "(normal + total).mean()", "averaged along axis 0"),
            ("return (normal", "answer = (normal", "is a `return` missing"),
        ],
        [
            (
                "(slope,) = torch.autograd.grad(v.sum(), x)",
                "slope = (velocity(x + 1e-2, t) - velocity(x - 1e-2, t)) / 2e-2",
            ),
            (
                "normal = -(x**2) / 2 - math.log(2 * math.pi) / 2",
                "normal = torch.distributions.Normal(0, 1).log_prob(x)",
            ),
            (
                "(slope,) = torch.autograd.grad(v.sum(), x)",
                "v.sum().backward()\n            slope = x.grad",
            ),
            (
                "i / num_steps)\n            x = x.detach()",
                "i / num_steps)\n            x = x.detach().clone()",
            ),
        ],
    ),
}
